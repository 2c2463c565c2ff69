"""The loops of greedy suppression: each box, best first, unless suppressed, suppresses others.

Every form gives the same answer. `most` takes the best box again and again and needs no order: it
is for few outputs. The others go through sorted boxes: on a CPU `_by_suffix` compares a box with
all worse ones, `_by_chunks` with those of them that are left, `_by_sweep` with those near it; on
other platforms, where a loop of small steps is a chain of launches, `_by_tiles` compares many at a
time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops.boxes import sides_and_area


class Planes(NamedTuple):
    """N boxes, coordinate by coordinate: the loops vectorise over boxes.

    The area is made before any loop: one that is computed next to the union is contracted to a
    fused multiply-add there, and the last bit of the IoU differs from everybody else's.
    """

    sides: jax.Array  # [5, N]: x1, y1, x2, y2, area
    classes: jax.Array | None  # [N]: boxes of different classes never overlap


def planes(boxes, classes=None):
    """[N, 4] -> Planes."""
    return Planes(sides_and_area(boxes), classes)


def overlap(one, others, threshold):
    """Whether IoU > threshold. An IoU of 0/0 or nan is not."""
    common, union = common_and_union(one, others)
    over = common / union > threshold
    return over if one.classes is None else over & (one.classes == others.classes)


def common_and_union(one, others):
    """The areas of intersection and of union."""
    x1, y1, x2, y2, area = one.sides
    other_x1, other_y1, other_x2, other_y2, other_area = others.sides
    width = jnp.maximum(jnp.minimum(x2, other_x2) - jnp.maximum(x1, other_x1), 0)
    height = jnp.maximum(jnp.minimum(y2, other_y2) - jnp.maximum(y1, other_y1), 0)
    common = width * height
    return common, area + other_area - common


def box_at(boxes, i):
    """Box i, as Planes of a single box."""
    return jax.tree.map(lambda plane: _item(plane, i, -1), boxes)


def integers_in_order(values):
    """Integers of the same size that compare as the floats do: several times faster to sort."""
    values = jnp.where(values == 0, 0, values)  # -0 equals 0
    kind = jnp.int32 if values.dtype == jnp.float32 else jnp.int64
    bits = jax.lax.bitcast_convert_type(values, kind)
    return jnp.where(bits < 0, bits ^ jnp.iinfo(kind).max, bits)


def order(keys):
    """Places of the keys from the lowest to the highest, equal ones in order: [N] int -> int32.

    Digit by digit, from the last: each pass sorts single integers of a digit and a place. On a CPU
    that is up to three times faster than to sort keys with places (jax 0.10; on 0.12 the same).
    """
    n = len(keys)
    place = jnp.arange(n, dtype=jnp.int32)
    if keys.dtype != jnp.int32 or n < 2:
        return jax.lax.sort((keys, place), num_keys=1, is_stable=True)[1]
    place_bits = (n - 1).bit_length()
    digit_bits = 32 - place_bits
    places = place.astype(jnp.uint32)
    rest = jax.lax.bitcast_convert_type(keys, jnp.uint32) ^ np.uint32(1 << 31)  # unsigned order
    found = place
    for shift in range(0, 32, digit_bits):
        digit = (rest[found] >> np.uint32(shift)) << np.uint32(place_bits)
        by_digit = jax.lax.sort(digit | places, is_stable=True)  # unstable is slower
        found = found[(by_digit & np.uint32((1 << place_bits) - 1)).astype(jnp.int32)]
    return found


def most(boxes, rank, threshold, count):
    """The best `count` survivors in order of rank, highest first.

    Args:
        boxes: Planes of [N].
        rank: [N] int, the lowest int of its type where a box does not take part.
        threshold: scalar.
        count: int.

    Returns:
        indices: [count] int32, 0 where there are fewer.
        valid: [count] bool.
    """
    n = len(rank)
    place = jnp.arange(n, dtype=jnp.int32)
    gone = jnp.iinfo(rank.dtype).min

    def more(state):
        found, _, _, best = state
        return (found < count) & (best > gone)

    def take(state):
        found, indices, rank, best = state
        # The first of the best: argmax is slower on a CPU.
        i = jnp.min(jnp.where(rank == best, place, n))
        one = box_at(boxes, i)
        rank = jnp.where(overlap(one, boxes, threshold) | (place == i), gone, rank)
        return found + 1, indices.at[found].set(i), rank, jnp.max(rank)

    start = (jnp.int32(0), jnp.zeros(count, jnp.int32), rank, jnp.max(rank))
    found, indices, _, _ = jax.lax.while_loop(more, take, start)
    return indices, jnp.arange(count, dtype=jnp.int32) < found


def survivors(boxes, alive, threshold):
    """Which boxes survive: Planes of [N], [N] bool -> [N] bool.

    Args:
        boxes: best first, and those that take no part last.
        alive: which take part.
        threshold: scalar.
    """
    return jax.lax.platform_dependent(boxes, alive, threshold, cpu=_one_by_one, default=_by_tiles)


# A batched `cond` computes both sides, so several images go one after the other.
@jax.custom_batching.sequential_vmap
def _one_by_one(boxes, alive, threshold):
    n = len(alive)
    if n < _MANY:
        return _by_suffix(boxes, alive, threshold)
    # Of a sample of boxes: how many of the others lie above or below?
    x1, _, x2, _, _ = boxes.sides[:, :: n // _SAMPLE]
    near = (x1[:, None] < x2[None]) & (x2[:, None] > x1[None])
    return jax.lax.cond(
        jnp.mean(near, dtype=jnp.float32) < _NARROW,
        lambda: _by_sweep(boxes, alive, threshold),
        lambda: _by_chunks(boxes, alive, threshold),
    )


_MANY = 2048  # boxes: with fewer, moving them costs more than it saves
_SAMPLE = 256
_NARROW = 0.25  # share of pairs that meet in x below which the sweep is faster
_PARTS = 8  # loops of the suffix form, and chunks in which another goes through all boxes left
_HALVINGS = 4  # of the number of boxes among which the chunk form compares
_SKIP = 16  # boxes passed over at a time where all of them are suppressed
_BLOCK = 256  # boxes compared at a time by the sweep
_STRIP = 4096  # boxes of a strip of the sweep
_FEWEST_STRIPS = 4  # with fewer, one loop more costs more than it saves
_TILE = 512  # boxes compared with all others at a time on other platforms


def _by_suffix(boxes, alive, threshold):
    """Consecutive loops, each over a part of the boxes and only the boxes from there on."""
    n = len(alive)
    parts = _PARTS if n >= 64 * _PARTS else 1
    done = []
    for part in range(parts):
        size = n * (part + 1) // parts - n * part // parts
        alive = _suppress_worse(size, boxes, alive, threshold)
        done.append(alive[:size])
        alive = alive[size:]
        boxes = jax.tree.map(lambda plane, size=size: plane[..., size:], boxes)
    return jnp.concatenate(done)


def _suppress_worse(count, boxes, alive, threshold):
    """What is alive [N] once each of the first `count` boxes has suppressed those after it."""
    place = jnp.arange(len(alive), dtype=jnp.int32)

    def visit(i, alive):
        def suppress(alive):
            one = box_at(boxes, i)
            return alive & ~(overlap(one, boxes, threshold) & (place > i))

        return jax.lax.cond(_item(alive, i), suppress, lambda alive: alive, alive)

    def any_left(start, alive):
        return jnp.any(jax.lax.dynamic_slice_in_dim(alive, start, min(_SKIP, count)))

    return _for_each(count, any_left, visit, alive)


def _by_chunks(boxes, alive, threshold):
    """Chunk by chunk; after each, the boxes that are left move together.

    A loop is compiled for each of a few sizes, and the least that holds the boxes left is taken.
    """
    n = len(alive)
    sizes = [n >> halvings for halvings in range(_HALVINGS + 1)]

    def chunk_of(size):
        count = -(-size // _PARTS)
        rank = jnp.arange(size, dtype=jnp.int32)

        def chunk(state):
            kept, places, boxes, left = state
            boxes_left = jax.tree.map(lambda plane: plane[..., :size], boxes)
            alive = _suppress_worse(count, boxes_left, rank < left, threshold)
            done = jnp.where(alive[:count], places[:count], n)
            kept = kept.at[done].set(True, mode="drop")
            rest = alive & (rank >= count)
            target = jnp.where(rest, jnp.cumsum(rest, dtype=jnp.int32) - 1, size)
            source = jnp.zeros(size, jnp.int32).at[target].set(rank, mode="drop")
            places, boxes = jax.tree.map(
                lambda plane: jax.lax.dynamic_update_slice_in_dim(plane, plane[..., source], 0, -1),
                (places, boxes),
            )
            return kept, places, boxes, jnp.sum(rest, dtype=jnp.int32)

        return chunk

    chunks = [chunk_of(size) for size in sizes]
    start = (
        jnp.zeros(n, bool),  # which boxes survive
        jnp.arange(n, dtype=jnp.int32),  # of the boxes left, in front: where they were
        boxes,  # the boxes left, in front
        jnp.sum(alive, dtype=jnp.int32),  # how many they are
    )

    def next_chunk(state):
        enough = state[-1] <= np.array(sizes, np.int32)
        return jax.lax.switch(jnp.sum(enough) - 1, chunks, state)

    return jax.lax.while_loop(lambda state: state[-1] > 0, next_chunk, start)[0]


class _Layout(NamedTuple):
    """Boxes in strips by y1, each of equally many, and those of a strip in blocks by x1."""

    blocks: Planes  # [strips * K, 5, _BLOCK] and [strips * K, _BLOCK]
    position: jax.Array  # [N]: block * _BLOCK + column
    begin_x: jax.Array  # [strips, K]: where a block begins,
    reach_x: jax.Array  # [strips, K]: and how far it or one before it reaches
    first: jax.Array  # [N]: the first strip (of one strip: block) that reaches as far as a box,
    last: jax.Array  # [N]: and the first that begins beyond it


def _lay_out(boxes):
    n = boxes.sides.shape[1]
    strips = n // _STRIP if n >= _FEWEST_STRIPS * _STRIP else 1
    each = -(-n // strips)

    def filled(plane, places, fill):
        """The plane's items at places of which some are n: those are `fill`."""
        blank = [(0, 0)] * (plane.ndim - 1) + [(0, 1)]
        return jnp.pad(plane, blank, constant_values=fill)[..., places]

    # A nan overlaps nothing, so its box may lie anywhere, but must not hide others.
    x1, y1, x2, y2, _ = boxes.sides
    left, top = (jnp.where(jnp.isnan(side), jnp.inf, side) for side in (x1, y1))
    right, bottom = (jnp.where(jnp.isnan(side), -jnp.inf, side) for side in (x2, y2))
    by_y1 = jnp.arange(n, dtype=jnp.int32) if strips == 1 else order(integers_in_order(top))
    in_strips = jnp.pad(by_y1, (0, strips * each - n), constant_values=n).reshape(strips, each)
    by_x1 = jax.vmap(order)(integers_in_order(filled(left, in_strips, jnp.inf)))
    in_strips = jnp.take_along_axis(in_strips, by_x1, axis=1)
    in_strips = jnp.pad(in_strips, ((0, 0), (0, -each % _BLOCK)), constant_values=n)
    in_blocks = in_strips.reshape(strips, -1, _BLOCK)

    flat = in_blocks.reshape(-1, _BLOCK)
    position = (
        jnp.zeros(n, jnp.int32)
        .at[flat.reshape(-1)]
        .set(jnp.arange(flat.size, dtype=jnp.int32), mode="drop")
    )
    begin_x = jnp.min(filled(left, in_blocks, jnp.inf), axis=2)
    reach_x = jax.lax.cummax(jnp.max(filled(right, in_blocks, -jnp.inf), axis=2), axis=1)
    low, high, begin, reach = x1, x2, begin_x[0], reach_x[0]
    if strips > 1:
        low, high = y1, y2
        begin = jnp.min(filled(top, in_strips, jnp.inf), axis=1)
        reach = jax.lax.cummax(jnp.max(filled(bottom, in_strips, -jnp.inf), axis=1))
    return _Layout(
        blocks=jax.tree.map(lambda plane: jnp.moveaxis(filled(plane, flat, 0), -2, 0), boxes),
        position=position,
        begin_x=begin_x,
        reach_x=reach_x,
        first=jnp.searchsorted(reach, low, side="right").astype(jnp.int32),
        last=jnp.searchsorted(begin, high, side="left").astype(jnp.int32),
    )


def _by_sweep(boxes, alive, threshold):
    """A loop over boxes, inner ones over strips that each can reach and over the strips' blocks."""
    blocks, position, begin_x, reach_x, first, last = _lay_out(boxes)
    strips, blocks_of_strip = begin_x.shape
    column = jnp.arange(_BLOCK, dtype=jnp.int32)
    grid = jnp.zeros((len(blocks.sides), _BLOCK), bool)
    grid = grid.at[position // _BLOCK, position % _BLOCK].set(alive, unique_indices=True)

    def visit(i, grid):
        block, own_column = _item(position, i) // _BLOCK, _item(position, i) % _BLOCK

        def suppress(grid):
            one = box_at(boxes, i)

            def compare(q, grid):
                # Always q >= 0: a slice inside the computation below would keep jax 0.10 from
                # vectorising it, the result of a `cond` does not.
                others = jax.lax.cond(
                    q >= 0,
                    lambda: jax.tree.map(lambda plane: _item(plane, q), blocks),
                    lambda: jax.tree.map(lambda plane: jnp.zeros_like(plane[0]), blocks),
                )
                itself = (q == block) & (column == own_column)
                row = _item(grid, q) & ~(overlap(one, others, threshold) & ~itself)
                return jax.lax.dynamic_update_index_in_dim(grid, row, q, 0)

            def compare_strip(strip, grid):
                x1, _, x2, _, _ = one.sides
                start = strip * blocks_of_strip
                before = jnp.sum(_item(reach_x, strip) <= x1, dtype=jnp.int32)
                until = jnp.sum(_item(begin_x, strip) < x2, dtype=jnp.int32)
                return jax.lax.fori_loop(start + before, start + until, compare, grid)

            each = compare if strips == 1 else compare_strip
            return jax.lax.fori_loop(_item(first, i), _item(last, i), each, grid)

        still_there = _item(_item(grid, block), own_column)
        return jax.lax.cond(still_there, suppress, lambda grid: grid, grid)

    def any_left(start, grid):
        places = jax.lax.dynamic_slice_in_dim(position, start, min(_SKIP, len(alive)))
        return jnp.any(grid.reshape(-1)[places])

    return _for_each(len(alive), any_left, visit, grid).reshape(-1)[position]


def _for_each(count, any_left, visit, state):
    """state = visit(i, state) for i < count, but not where none of the next _SKIP is left.

    `any_left(start, state)` may look at up to _SKIP boxes before `start` near the end.
    """

    def some(chunk, state):
        start = chunk * _SKIP

        def each(state):
            return jax.lax.fori_loop(start, jnp.minimum(start + _SKIP, count), visit, state)

        return jax.lax.cond(any_left(start, state), each, lambda state: state, state)

    return jax.lax.fori_loop(0, -(-count // _SKIP), some, state)


def _item(array, i, axis=0):
    """array[i] for an i that is in bounds."""
    return jax.lax.dynamic_index_in_dim(array, i, axis, keepdims=False)


def _by_tiles(boxes, alive, threshold):
    """Tile by tile: settle the boxes of a tile, then suppress all later ones by its survivors."""
    n = len(alive)
    size = min(_TILE, n)
    tiles = -(-n // size)
    alive = jnp.pad(alive, (0, tiles * size - n))
    boxes = jax.tree.map(
        lambda plane: jnp.pad(plane, [(0, 0)] * (plane.ndim - 1) + [(0, tiles * size - n)]), boxes
    )
    later = jax.tree.map(lambda plane: plane[..., :, None], boxes)
    place = jnp.arange(tiles * size, dtype=jnp.int32)
    before = np.tri(size, k=-1, dtype=bool)  # [later, earlier]

    def settle(tile, alive):
        start = tile * size
        candidates = jax.lax.dynamic_slice_in_dim(alive, start, size)
        earlier = jax.tree.map(
            lambda plane: jax.lax.dynamic_slice_in_dim(plane, start, size, -1)[..., None, :], boxes
        )
        over = overlap(earlier, later, threshold)  # [later, earlier]
        among = jax.lax.dynamic_slice_in_dim(over, start, size) & before

        # Of the candidates those without a survivor before them, until nothing changes: what
        # hangs on k others is settled after k rounds.
        def next_round(state):
            live, _ = state
            return candidates & ~jnp.any(among & live[None], axis=1), live

        rounds = next_round((candidates, candidates))
        live, _ = jax.lax.while_loop(lambda s: jnp.any(s[0] != s[1]), next_round, rounds)
        alive = jax.lax.dynamic_update_slice(alive, live, (start,))
        return alive & ~(jnp.any(over & live[None], axis=1) & (place >= start + size))

    return jax.lax.fori_loop(0, tiles, settle, alive)[:n]
