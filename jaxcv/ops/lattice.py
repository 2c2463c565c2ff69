"""The permutohedral lattice of a set of features: which points it has, and who sits where.

Adams, Baek, Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010. A
feature of D numbers lies in a simplex with D + 1 corners. A lattice point is named by D integers,
its key, and found by comparing all of them: two points are never taken for one. What is built here
depends on the features alone; `jaxcv.ops.lattice_values` moves values over it.
"""

import dataclasses
import functools
import math
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops.fusion import apart

ROW = 8  # corners of one lattice point that are summed before anything is scattered

_FEW = 16  # corners of which no more than one has not found its slot: those go on alone
_LONGEST = 2**20  # beyond, float32 loses the place within a simplex, then the simplex
_WIDTH = 32  # places of a row whose running counts are one product


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lattice:
    """Where N features of D numbers lie in a lattice with room for M points.

    Point M stands for all that do not exist: its value is 0. The corners that lie at a point are
    listed in rows of `ROW`; what is left of a point's last row has weight 0.
    """

    points: jax.Array  # [] int32, how many points there are; where above M the lattice is void
    corners: jax.Array  # [N, D + 1] int32, the points around each feature
    neighbours: jax.Array  # [D + 1, 2, M + 1] int32, the points on both sides along each axis
    row_features: jax.Array  # [R, ROW] int32
    row_points: jax.Array  # [R] int32, rising

    @property
    def max_points(self):
        """M, the room for points."""
        return self.neighbours.shape[-1] - 1


class Weights(NamedTuple):
    """A number for each pair of feature and corner, in both orders that a lattice lists them."""

    corners: jax.Array  # [N, D + 1] float32
    rows: jax.Array  # [R, ROW] float32


def build_lattice(features, *, max_points=None):
    """The lattice of `features` [N, D] float32, and their barycentric coordinates in it.

    Args:
        features: [N, D] float32, of lengths up to `_LONGEST` / (D + 1). If not, weights are nan.
        max_points: the room for points. By default, where features are not traced, it is the
            number of points rounded up to one of 64, 80, 96, 112, 128, 160, ...

    Returns:
        Lattice, Weights.

    Raises:
        ValueError: no `max_points`, but features are traced.
    """
    numbered = _number(_padded(features))
    if max_points is None:
        if isinstance(numbered.points, jax.core.Tracer):
            raise ValueError(
                "max_points must be given where features are traced (by jit, vmap or grad): their"
                " values decide how many there are. Or build the kernel outside, and pass it in."
            )
        max_points = _bucket(int(numbered.points))
    return _assembled(numbered, count=len(features), max_points=max_points)


def scaled(lattice, weights, factors):
    """Weights times a factor for each feature, [N]."""
    return Weights(
        corners=weights.corners * factors[:, None],
        rows=weights.rows * factors[lattice.row_features],
    )


def _bucket(points):
    """`points` rounded up to 4, 5, 6 or 7 times a power of two, at least 64."""
    unit = 1 << max(points - 1, 32).bit_length() - 3
    return -(-max(points, 64) // unit) * unit


def _padded(features):
    """Zeros up to a multiple of four, as in pydensecrf: the points around 0 then exist."""
    return jnp.pad(features, ((0, -len(features) % 4), (0, 0)))


def _scaled(features):
    """D coordinates, [N] each."""
    dimensions = features.shape[1]
    scale = float(np.float32(math.sqrt(2 / 3) * (dimensions + 1)))
    # Rounded once, after the division: it decides which simplex features between two are in.
    factors = [np.float32(scale / math.sqrt(i * (i + 1))) for i in range(1, dimensions + 1)]
    return [features[:, i] * factor for i, factor in enumerate(factors)]


def _multiples(coordinates):
    """Each times its place, counted from 1."""
    return [coordinate * np.float32(i + 1) for i, coordinate in enumerate(coordinates)]


def _elevated(coordinates, multiples):
    """D + 1 coordinates, [N] each, whose sum is 0."""
    total = jnp.zeros_like(coordinates[0])
    elevated = []
    for coordinate, multiple in zip(reversed(coordinates), reversed(multiples)):
        elevated.append(total - multiple)
        total = total + coordinate
    return [total, *reversed(elevated)]


class _Numbered(NamedTuple):
    """Corners with the number of their point, those of remainder 0 first: C = (D + 1) N."""

    points: jax.Array  # [] int32
    corners: jax.Array  # [D + 1, N] int32, not limited
    weights: jax.Array  # [D + 1, N] float32
    keys: tuple  # D arrays [C] int32
    table: jax.Array  # [T] int32, as of `_hash_table`
    first: jax.Array  # [C] bool, whether it is the first corner of its point


@jax.jit
def _number(features):
    """Numbers lattice points as they are met, feature by feature: near features, near numbers."""
    # One after the other, as written: where XLA contracts a product and a sum, or multiplies two
    # constants first, features that lie between two simplices end up in the other one.
    coordinates = apart(_scaled, features)
    multiples = apart(_multiples, coordinates)
    base, rank, rest = apart(lambda *e: _simplex(_elevated(*e)), coordinates, multiples)
    keys = apart(_keys, base, rank)
    table, slot = _hash_table(keys)
    owner = table[slot]
    first = owner == jnp.arange(len(owner), dtype=jnp.int32)
    met = _running_count(first.reshape(len(base), -1).T.reshape(-1))
    number = met.reshape(-1, len(base)).T.reshape(-1) - 1
    corners = number[owner].reshape(len(base), -1)
    length = jnp.sqrt(jnp.max(jnp.sum(jnp.square(features), axis=1)))
    near = length <= _LONGEST / len(base)  # not so for nan
    weights = jnp.where(near, _barycentric(rank, rest), jnp.nan)
    return _Numbered(met[-1], corners, weights, keys, table, first)


def _simplex(elevated):
    """The simplex around each feature, as D + 1 arrays [N] of each of

    base: int32, the corner of remainder 0, divided by D + 1.
    rank: int32, of the coordinate in the order of falling `rest`.
    rest: float32, what base leaves of the coordinate, divided by D + 1.
    """
    sides = len(elevated)
    inverse = np.float32(1) / np.float32(sides)
    nearest = [jax.lax.round(e * inverse, jax.lax.RoundingMethod.TO_NEAREST_EVEN) for e in elevated]
    rest = [e - n * sides for e, n in zip(elevated, nearest)]
    base = [n.astype(jnp.int32) for n in nearest]
    rank = [sum(base)] * sides
    for i in range(sides):
        for j in range(i + 1, sides):
            less = rest[i] < rest[j]
            rank[i] = rank[i] + less
            rank[j] = rank[j] + ~less
    # Where the nearest point has not remainder 0, i.e. its coordinates do not add up to 0.
    wrap = [(r < 0).astype(jnp.int32) - (r > sides - 1) for r in rank]
    base = [b + w for b, w in zip(base, wrap)]
    rank = [r + w * sides for r, w in zip(rank, wrap)]
    rest = [(e - (b * sides).astype(e.dtype)) * inverse for e, b in zip(elevated, base)]
    return base, rank, rest


def _keys(base, rank):
    """D arrays [C] int32: each but the last coordinate of the corners of remainder 0, 1, ..., D."""
    sides = len(rank)
    remainder = np.arange(sides, dtype=np.int32)[:, None]

    def coordinate(base, rank):
        shift = jnp.where(rank < sides - remainder, remainder, remainder - sides)
        return (base * sides + shift).reshape(-1)

    return tuple(coordinate(b[None], r[None]) for b, r in zip(base[:-1], rank[:-1]))


def _barycentric(rank, rest):
    """[D + 1, N] float32: weights of the corners of remainder 0, 1, ..., D."""
    sides = len(rank)
    ranked = [sum(jnp.where(r == k, v, 0) for r, v in zip(rank, rest)) for k in range(sides)]
    first = ranked[-1] + (1 - ranked[0])
    others = [ranked[k - 1] - ranked[k] for k in range(sides - 1, 0, -1)]
    return jnp.stack([first, *others])


def _hash_table(keys):
    """Open addressing with linear probing, all keys at once: D arrays [C].

    Returns:
        table: [T] int32, the first corner whose key is in this slot; C where the slot is free.
        slot: [C] int32, where each corner's key is.
    """
    count = len(keys[0])
    size = 1 << count.bit_length()  # above `count`: a search always ends at a free slot
    few = -(-count // _FEW)

    def probing(corner, keys_of_corner):
        def probe(state):
            table, slot, _ = state
            # A slot that is taken stays so; a free one goes to the first of those who ask for it.
            table = table.at[slot].min(jnp.where(table[slot] == count, corner, count))
            lost = (corner < count) & ~_are_at(table[slot], keys, keys_of_corner)
            return table, jnp.where(lost, (slot + 1) % size, slot), lost

        return probe

    probe = probing(jnp.arange(count, dtype=jnp.int32), keys)
    state = probe((jnp.full(size, count, jnp.int32), _hash(keys, size), None))
    table, slot, lost = jax.lax.while_loop(lambda state: jnp.sum(state[-1]) > few, probe, state)

    # What is left, a hundredth of all as a rule, goes on alone: all corners of a point, or none.
    corner = _places(lost, few)
    state = (table, slot.at[corner].get(mode="clip"), corner < count)
    probe = probing(corner, _keys_at(keys, corner))
    table, slot_of_few, _ = jax.lax.while_loop(lambda state: jnp.any(state[-1]), probe, state)
    return table, slot.at[corner].set(slot_of_few, mode="drop")


def _look_up(queries, keys, table):
    """The first corner whose key is each query: D arrays [...] -> [...] int32, C for none."""
    count, size = len(keys[0]), len(table)

    def probe(state):
        slot, _, _ = state
        owner = table[slot]
        found = (owner < count) & _are_at(owner, keys, queries)
        done = found | (owner == count)  # at a free slot: there is none
        return jnp.where(done, slot, (slot + 1) % size), jnp.where(found, owner, count), done

    slot = _hash(queries, size)
    start = (slot, jnp.full_like(slot, count), slot < 0)
    return jax.lax.while_loop(lambda state: ~state[-1].all(), probe, start)[1]


def _keys_at(keys, corner):
    """The keys of these corners, of any if there is no such corner."""
    return tuple(key.at[corner].get(mode="clip") for key in keys)


def _are_at(corner, keys, queries):
    """Whether the key of each corner is the query: [...] int32, D arrays, D arrays [...]."""

    def compare(corner, keys, queries):
        pairs = zip(_keys_at(keys, corner), queries)
        return functools.reduce(operator.and_, [key == query for key, query in pairs])

    return apart(compare, corner, keys, queries)


def _hash(keys, size):
    """D arrays [...] int32 -> [...] int32 below `size`, a power of two."""
    mixed = jnp.zeros(keys[0].shape, jnp.uint32)
    for key in keys:
        mixed = (mixed + key.astype(jnp.uint32)) * np.uint32(0x9E3779B1)
    return ((mixed ^ (mixed >> 15)) % size).astype(jnp.int32)


def _running_count(mask):
    """How many hold up to each place: [C] bool -> [C] int32.

    A cumulative sum of all takes XLA 15 ns a place on a CPU. Counts in a row are exact in float32.
    """
    rows = jnp.pad(mask, (0, -len(mask) % _WIDTH)).reshape(-1, _WIDTH).astype(jnp.float32)
    to_the_left = np.triu(np.ones((_WIDTH, _WIDTH), np.float32))
    counts = jnp.matmul(rows, to_the_left, precision="highest").astype(jnp.int32)
    before = apart(lambda row: jnp.cumsum(row) - row, counts[:, -1])
    return (counts + before[:, None]).reshape(-1)[: len(mask)]


def _places(mask, size):
    """The first `size` places where the mask [C] holds: [size] int32, C once there are no more."""
    count = len(mask)
    target = jnp.where(mask, _running_count(mask) - 1, size)
    places = jnp.full(size, count, jnp.int32)
    return places.at[target].set(jnp.arange(count, dtype=jnp.int32), mode="drop")


@functools.partial(jax.jit, static_argnames=("count", "max_points"))
def _assembled(numbered, *, count, max_points):
    """The lattice of the first `count` features. Points beyond `max_points` are lost."""
    corners = jnp.minimum(numbered.corners, max_points)
    neighbours = _neighbours(numbered, corners.reshape(-1), max_points)
    corners, weights = corners[:, :count], numbered.weights[:, :count]
    row_corners, row_points, real = _rows(corners, max_points)
    row_weights = jnp.where(real, weights.reshape(-1)[row_corners], 0)
    lattice = Lattice(numbered.points, corners.T, neighbours, row_corners % count, row_points)
    return lattice, Weights(weights.T, row_weights)


def _neighbours(numbered, corner_points, max_points):
    """[D + 1, 2, M + 1] int32, M where there is none."""
    dimensions, count = len(numbered.keys), len(corner_points)
    owners = jnp.full(max_points, count, jnp.int32)
    place = jnp.where(numbered.first, corner_points, max_points)
    owners = owners.at[place].set(jnp.arange(count, dtype=jnp.int32), mode="drop")
    keys = _keys_at(numbered.keys, owners)
    # One step along axis j: all coordinates + 1 but the j-th, - D. The last one is not kept.
    step = 1 - (dimensions + 1) * np.eye(dimensions + 1, dimensions, dtype=np.int32)
    both = np.stack([step, -step], axis=1)[..., None]  # [D + 1, 2, D, 1]
    queries = tuple(key[None, None] + both[:, :, i] for i, key in enumerate(keys))  # [D + 1, 2, M]
    found = _look_up(queries, numbered.keys, numbered.table)
    exists = (found < count) & (owners < count)[None, None]
    points = jnp.where(exists, corner_points.at[found].get(mode="clip"), max_points)
    return jnp.pad(points, ((0, 0), (0, 0), (0, 1)), constant_values=max_points)


def _rows(corner_points, max_points):
    """Corners [D + 1, N] listed by point in rows of `ROW`.

    Returns:
        corners: [R, ROW] int32; R is enough for any lattice with `max_points`.
        points: [R] int32, rising, M for rows that are not used.
        real: [R, ROW] bool, which of `corners` mean anything.
    """
    count = corner_points.size
    order, ordered_points = _order(corner_points)
    room = jnp.zeros(max_points + 1, jnp.int32)
    held = room.at[ordered_points].add(1)
    begin = (room + count).at[ordered_points].min(jnp.arange(count, dtype=jnp.int32))
    rows = -(-held // ROW)
    first_row = jnp.cumsum(rows) - rows
    size = -(-count // ROW) + max_points
    point = jnp.arange(max_points + 1, dtype=jnp.int32)
    points = jnp.repeat(point, rows, total_repeat_length=size)
    nth_row = jnp.arange(size, dtype=jnp.int32) - first_row[points]
    nth = nth_row[:, None] * ROW + jnp.arange(ROW, dtype=jnp.int32)[None]
    real = nth < held[points][:, None]
    return order[jnp.where(real, begin[points][:, None] + nth, 0)], points, real


def _order(corner_points):
    """Puts the corners of a point side by side: [D + 1, N] int32 -> corners, their points, [C].

    Different remainders have different points, so each is sorted alone.
    """
    # One operand of 64 bits: with two, which argsort sorts, XLA takes five times as long on a CPU.
    with jax.enable_x64(True):
        packed = jax.lax.convert_element_type(corner_points, jnp.uint64)
        packed = jax.lax.shift_left(packed, jax.lax.full_like(packed, 32))
        corner = jax.lax.iota(jnp.uint64, corner_points.size).reshape(corner_points.shape)
        packed = jax.lax.sort(packed | corner, dimension=1).reshape(-1)
        corners = jax.lax.convert_element_type(packed, jnp.uint32)
        points = jax.lax.shift_right_logical(packed, jax.lax.full_like(packed, 32))
        points = jax.lax.convert_element_type(points, jnp.int32)
        return jax.lax.convert_element_type(corners, jnp.int32), points
