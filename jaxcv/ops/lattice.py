"""The permutohedral lattice of a set of features: which points it has, and who sits where.

Adams, Baek, Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010. A
feature of D numbers lies in a simplex with D + 1 corners. A lattice point is named by D integers,
its key, and found by comparing all of them: two points are never taken for one. What is built here
depends on the features alone; `jaxcv.ops.lattice_values` moves values over it.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops.fusion import apart

ROW = 8  # corners of one lattice point that are summed before anything is scattered


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
        features: [N, D] float32.
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
    """Corners with the number of their point. A corner is C = N (D + 1)."""

    points: jax.Array  # [] int32
    corners: jax.Array  # [N, D + 1] int32, not limited
    weights: jax.Array  # [N, D + 1] float32
    keys: jax.Array  # [C, D] int32
    table: jax.Array  # [T] int32, as of `_hash_table`
    first: jax.Array  # [C] bool, whether it is the first corner of its point


@jax.jit
def _number(features):
    """Numbers lattice points in the order of their first corners."""
    sides = features.shape[1] + 1
    # One after the other, as written: where XLA contracts a product and a sum, or multiplies two
    # constants first, features that lie between two simplices end up in the other one.
    coordinates = apart(_scaled, features)
    multiples = apart(_multiples, coordinates)
    base, rank, rest = apart(lambda *e: _simplex(_elevated(*e)), coordinates, multiples)
    keys = _keys(base, rank)  # [N, D + 1, D]
    flat = keys.reshape(-1, sides - 1)
    table, slot = _hash_table(flat)
    owner = table[slot]
    first = owner == jnp.arange(len(flat), dtype=jnp.int32)
    number = jnp.cumsum(first, dtype=jnp.int32) - 1
    corners = number[owner].reshape(-1, sides)
    return _Numbered(number[-1] + 1, corners, _barycentric(rank, rest), flat, table, first)


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
    """[N, D + 1, D] int32: the first D coordinates of the corners of remainder 0, 1, ..., D."""
    sides = len(rank)

    def coordinate(i, remainder):
        shift = jnp.where(rank[i] < sides - remainder, remainder, remainder - sides)
        return base[i] * sides + shift

    # [D + 1, D, N] first: XLA computes all columns for each one where they are the last axis.
    keys = jnp.stack(
        [jnp.stack([coordinate(i, r) for i in range(sides - 1)]) for r in range(sides)]
    )
    return jnp.transpose(keys, (2, 0, 1))


def _barycentric(rank, rest):
    """[N, D + 1] float32: weights of the corners of remainder 0, 1, ..., D."""
    sides = len(rank)
    ranked = [sum(jnp.where(r == k, v, 0) for r, v in zip(rank, rest)) for k in range(sides)]
    first = ranked[-1] + (1 - ranked[0])
    others = [ranked[k - 1] - ranked[k] for k in range(sides - 1, 0, -1)]
    return jnp.stack([first, *others]).T


def _hash_table(keys):
    """Open addressing with linear probing, all keys at once.

    Returns:
        table: [T] int32, the first corner whose key is in this slot; C where the slot is free.
        slot: [C] int32, where each corner's key is.
    """
    count = len(keys)
    size = 1 << count.bit_length()  # above `count`: a search always ends at a free slot
    corner = jnp.arange(count, dtype=jnp.int32)

    def probe(state):
        table, slot, _ = state
        # A slot that is taken stays so; a free one goes to the first of those who ask for it.
        table = table.at[slot].min(jnp.where(table[slot] == count, corner, count))
        other = (keys[table[slot]] != keys).any(axis=1)
        return table, jnp.where(other, (slot + 1) % size, slot), other.any()

    start = (jnp.full(size, count, jnp.int32), _hash(keys, size), jnp.bool(True))
    table, slot, _ = jax.lax.while_loop(lambda state: state[-1], probe, start)
    return table, slot


def _look_up(queries, keys, table):
    """The first corner whose key is each query: [..., D] -> [...] int32, C where there is none."""
    count, size = len(keys), len(table)

    def probe(state):
        slot, _, _ = state
        owner = table[slot]
        found = (owner < count) & (keys.at[owner].get(mode="clip") == queries).all(axis=-1)
        done = found | (owner == count)  # at a free slot: there is none
        return jnp.where(done, slot, (slot + 1) % size), jnp.where(found, owner, count), done

    slot = _hash(queries, size)
    start = (slot, jnp.full_like(slot, count), jnp.zeros(slot.shape, bool))
    return jax.lax.while_loop(lambda state: ~state[-1].all(), probe, start)[1]


def _hash(keys, size):
    """[..., D] int32 -> [...] int32 below `size`, a power of two."""
    mixed = jnp.zeros(keys.shape[:-1], jnp.uint32)
    for i in range(keys.shape[-1]):
        mixed = (mixed + keys[..., i].astype(jnp.uint32)) * np.uint32(0x9E3779B1)
    return ((mixed ^ (mixed >> 15)) % size).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=("count", "max_points"))
def _assembled(numbered, *, count, max_points):
    """The lattice of the first `count` features. Points beyond `max_points` are lost."""
    corners = jnp.minimum(numbered.corners, max_points)
    neighbours = _neighbours(numbered, corners.reshape(-1), max_points)
    corners, weights = corners[:count], numbered.weights[:count]
    row_corners, row_points, real = _rows(corners.reshape(-1), max_points)
    row_weights = jnp.where(real, weights.reshape(-1)[row_corners], 0)
    row_features = row_corners // corners.shape[1]
    lattice = Lattice(numbered.points, corners, neighbours, row_features, row_points)
    return lattice, Weights(weights, row_weights)


def _neighbours(numbered, corner_points, max_points):
    """[D + 1, 2, M + 1] int32, M where there is none."""
    count, dimensions = numbered.keys.shape
    owners = jnp.nonzero(numbered.first, size=max_points, fill_value=count)[0]
    keys = numbered.keys.at[owners].get(mode="clip")
    # One step along axis j: all coordinates + 1 but the j-th, - D. The last one is not kept.
    step = np.ones((dimensions + 1, 1, dimensions), np.int32)
    step[np.arange(dimensions), 0, np.arange(dimensions)] = -dimensions
    queries = keys[None, None] + np.stack([step, -step], axis=1)  # [D + 1, 2, M, D]
    found = _look_up(queries, numbered.keys, numbered.table)
    exists = (found < count) & (owners < count)[None, None]
    points = jnp.where(exists, corner_points.at[found].get(mode="clip"), max_points)
    return jnp.pad(points, ((0, 0), (0, 0), (0, 1)), constant_values=max_points)


def _rows(corner_points, max_points):
    """Corners listed by point in rows of `ROW`.

    Returns:
        corners: [R, ROW] int32; R is enough for any lattice with `max_points`.
        points: [R] int32, rising, M for rows that are not used.
        real: [R, ROW] bool, which of `corners` mean anything.
    """
    count = len(corner_points)
    order = _order(corner_points)
    held = jnp.zeros(max_points + 1, jnp.int32).at[corner_points].add(1)
    begin = jnp.cumsum(held) - held
    rows = -(-held // ROW)
    first_row = jnp.cumsum(rows) - rows
    size = -(-count // ROW) + max_points
    point = jnp.arange(max_points + 1, dtype=jnp.int32)
    points = jnp.repeat(point, rows, total_repeat_length=size)
    nth_row = jnp.arange(size, dtype=jnp.int32) - first_row[points]
    nth = nth_row[:, None] * ROW + jnp.arange(ROW, dtype=jnp.int32)[None]
    real = nth < held[points][:, None]
    return order[jnp.where(real, begin[points][:, None] + nth, 0)], points, real


def _order(numbers):
    """What puts equal numbers side by side: [C] int32, not negative -> [C] int32, as argsort."""
    # One operand of 64 bits: with two, which argsort sorts, XLA takes five times as long on a CPU.
    with jax.enable_x64(True):
        packed = jax.lax.convert_element_type(numbers, jnp.uint64)
        packed = jax.lax.shift_left(packed, jax.lax.full_like(packed, 32))
        packed = jax.lax.sort(packed | jax.lax.iota(jnp.uint64, len(numbers)))
        places = packed & jax.lax.full_like(packed, 2**32 - 1)
        return jax.lax.convert_element_type(places, jnp.int32)
