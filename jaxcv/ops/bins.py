"""Means of samples over the bins of boxes, what RoIAlign and its relatives have in common.

A bin's mean over a grid of bilinear samples is separable, and along one axis it is a short
weighted sum of rows of the map. Where the samples are dense, the weights of r samples fall on r + 1
neighbouring rows; where they lie far apart, on two rows each. So a box needs few taps or many (a
tap is a row or a column with its weight), and on a CPU each box takes as many as it needs.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcv.ops import sliding

_UNROLLED = 5  # taps an axis up to which a box's sum is one fused loop
_CHUNK = 4  # columns of one step where there are more
_BAND = 32  # rows of the map whose boxes are taken from left to right


def checked(features, boxes, output_size):
    """The arguments as jax arrays and a pair of ints.

    Raises:
        ValueError: features are not [H, W, C] float, boxes not [N, 4] float, or output_size is no
            int or pair of ints from 1 up.
    """
    features, boxes = jnp.asarray(features), jnp.asarray(boxes)
    if features.ndim != 3 or 0 in features.shape[:2]:
        raise ValueError(
            f"features must be [H, W, C] with at least one pixel, got {list(features.shape)}."
            " For a batch, jax.vmap the function."
        )
    if boxes.ndim != 2 or boxes.shape[-1] != 4:
        raise ValueError(
            f"boxes must be [N, 4] (x1, y1, x2, y2), got {list(boxes.shape)}."
            " For a batch, jax.vmap the function."
        )
    sliding.check_floating(features=features)
    sliding.check_floating(boxes=boxes)
    size = sliding.per_axis(output_size, 2, "output_size")
    return features, boxes, sliding.at_least(size, 1, "output_size")


class Axis(NamedTuple):
    """Bins along one axis, for N boxes: sample k lies at begin + (k + 1/2) * step, k < samples.

    All are floats. A coordinate is a pixel's index; samples in [-1, 0] are taken at 0, those in
    [size - 1, size] at size - 1, those outside of [-1, size] count as zeros.
    """

    begin: Any  # [N, P]
    step: Any  # [N, P], positive
    samples: Any  # [N, P], whole numbers
    size: Any  # [N, 1], pixels of the box's map along this axis


class Bins(NamedTuple):
    """What `bin_means` is to average, for N boxes of P x Q bins each."""

    rows: Axis
    columns: Axis
    level: Any  # [N] int, which map the box is in
    valid: Any  # [N] bool; the means of other boxes are nan
    offsets: Any  # [P * Q] int, added to every index into the flat map


def regular_axis(start, extent, bins, samples, size):
    """Equal bins from start to start + extent, [N] each, with `samples` [N] in each bin.

    A negative extent has its samples too, in other words backwards.
    """
    width = divide(extent, bins)[:, None]
    place = jnp.arange(bins, dtype=start.dtype)[None]
    begin = start[:, None] + place * width + jnp.minimum(width, 0)
    samples = jnp.broadcast_to(samples[:, None], begin.shape)
    # Not 0, by which `_dense_weight` divides: coinciding samples still coincide in effect.
    step = jnp.maximum(jnp.abs(width) / jnp.maximum(samples, 1), jnp.finfo(start.dtype).tiny ** 0.5)
    return Axis(begin, step, samples, size)


def rounded_corners(features, boxes, spatial_scale):
    """Corners on the map's pixels, as in C: lows and highs [N, 2] (y, x), and [N] which are finite.

    Halves are rounded away from zero. A box that is not finite lies at 0.
    """
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    boxes = jax.lax.stop_gradient(boxes).astype(dtype) * spatial_scale
    finite = jnp.isfinite(boxes).all(1)
    boxes = jnp.where(finite[:, None], boxes, 0)
    whole = jnp.trunc(boxes)
    corners = whole + jnp.where(jnp.abs(boxes - whole) >= 0.5, jnp.sign(boxes), 0)
    return corners[:, 1::-1], corners[:, :1:-1], finite


def pixel_bins(start, extent, bins, size):
    """Equal bins grown to whole pixels: the first and the one after the last, [N, bins] each.

    Both are kept within 0..size.
    """
    width = divide(extent, bins)[:, None]
    place = jnp.arange(bins, dtype=start.dtype)[None]
    first = jnp.floor(place * width) + start[:, None]
    end = jnp.ceil((place + 1) * width) + start[:, None]
    return jnp.clip(first, 0, size), jnp.clip(end, 0, size)


def pixel_axis(first, end, size):
    """An axis whose bins hold the pixels from first to before end, [N, P] within 0..size."""
    count = jnp.maximum(end - first, 0)
    return Axis(first - 0.5, jnp.ones_like(first), count, jnp.full_like(first[:, :1], size))


def divide(array, number):
    """array / number, correctly rounded.

    XLA multiplies by the rounded inverse of what it can see to be constant. That gives 14 / 7 a bit
    more than 2, and with it another number of samples.
    """
    return array / jnp.where(jnp.isnan(array), 1, number)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def bin_means(maps, bins, most):
    """Mean of the samples in every bin: [N, P * Q, C], differentiable by the maps alone, once.

    Args:
        maps: tuple of [H, W, C] float.
        bins: Bins, in the dtype to compute in.
        most: an int that no box's taps along an axis exceed, or None.
    """
    return jax.lax.platform_dependent(
        maps,
        bins,
        cpu=jax.custom_batching.sequential_vmap(functools.partial(_means_by_box, most=most)),
        default=_means_at_once,
    )


def _forward(maps, bins, most):
    return bin_means(maps, bins, most), (maps, bins)


def _backward(most, residuals, cotangent):
    maps, bins = residuals
    gradients = jax.lax.platform_dependent(
        maps,
        bins,
        cotangent,
        cpu=jax.custom_batching.sequential_vmap(functools.partial(_gradients_by_box, most=most)),
        default=_gradients_at_once,
    )
    return gradients, None


bin_means.defvjp(_forward, _backward)


def taps(axis, t):
    """Taps t of every bin, and their weights: [..., P] axes and [T] int -> [..., P, T] int, float.

    Weights of t at and beyond `tap_counts(axis)` are 0.
    """
    begin, step, samples, size = (jnp.expand_dims(a, -1) for a in axis)
    t = t.reshape((1,) * (begin.ndim - 1) + t.shape)
    spread = jnp.expand_dims(_is_spread(axis), (-2, -1))
    row = jnp.expand_dims(_ends(axis)[0], -1) + t
    weight = _dense_weight(begin, step, samples, size, row)

    position = begin + (t // 2 + 0.5) * step
    inside = (position >= -1) & (position <= size) & (t // 2 < samples)
    position = jnp.clip(position, 0, size - 1)
    low = jnp.floor(position)
    part = jnp.where(t % 2, position - low, 1 - (position - low))
    row = jnp.where(spread, low + t % 2, row)
    weight = jnp.where(spread, jnp.where(inside, part, 0), weight)

    weight = jnp.where(row < size, weight / jnp.maximum(samples, 1), 0)
    return jnp.minimum(row, size - 1).astype(jnp.int32), weight


def tap_counts(axis):
    """How many taps the bins of each box need: [..., P] axes -> [...] int32."""
    rows = _dense_count(axis)
    return jnp.where(_is_spread(axis), 2 * axis.samples.max(-1), rows).astype(jnp.int32)


def _dense_weight(begin, step, samples, size, row):
    """Summed weight that a bin's samples give a row, in closed form.

    Samples less than one pixel away count by 1 - distance, and the mean distance of an evenly
    spaced series is that of its middle. Before the first row and after the last they count whole.
    """

    def place(coordinate):
        return (coordinate - begin) / step - 0.5  # sample k = 0, 1, ... is at k

    def count(before, after, ramp):
        before, after = jnp.clip(before, 0, samples), jnp.clip(after, 0, samples)
        middle = begin + step * (before + after) / 2
        return (after - before) * jnp.where(ramp, 1 - jnp.abs(row - middle), 1)

    last = row == size - 1
    start, middle, end = (place(row + offset) for offset in (-1, 0, 1))
    end = jnp.where(last, jnp.floor(end) + 1, jnp.ceil(end))  # a sample at `size` itself counts
    above = count(jnp.ceil(start), jnp.ceil(middle), row > 0)
    return above + count(jnp.ceil(middle), end, ~last)


def _ends(axis):
    """First and last row that the samples of each bin touch, [..., P] float."""
    first = jnp.floor(axis.begin + axis.step / 2)
    last = jnp.floor(axis.begin + (axis.samples - 0.5) * axis.step) + 1
    return jnp.clip(first, 0, axis.size - 1), jnp.clip(last, 0, axis.size - 1)


def _dense_count(axis):
    first, last = _ends(axis)
    return (last - first).max(-1) + 1


def _is_spread(axis):
    """Whether taking the two rows of each sample is less than all rows from first to last."""
    return _dense_count(axis) > 2 * axis.samples.max(-1)


def _means_by_box(maps, bins, most):
    dtype = bins.rows.begin.dtype
    start = jnp.zeros((len(bins.offsets), maps[0].shape[-1]), dtype)
    means = jnp.full((len(bins.valid), *start.shape), jnp.nan, dtype)
    groups = _groups(bins, len(maps), most)
    for level, image in enumerate(maps):
        add_rows = functools.partial(_add_rows, image.reshape(-1, image.shape[-1]))

        def write(visit, n, means, add_rows=add_rows):
            return means.at[n].set(visit(add_rows, start), mode="promise_in_bounds")

        means = _for_level(write, means, bins, groups, level, image.shape[1], most)
    return means


def _gradients_by_box(maps, bins, cotangent, most):
    groups = _groups(bins, len(maps), most)
    totals = []
    for level, (height, width, channels) in enumerate(image.shape for image in maps):

        def add(visit, n, total):
            return visit(functools.partial(_scatter_rows, cotangent[n]), total)

        total = jnp.zeros((height * width, channels), cotangent.dtype)
        totals.append(_for_level(add, total, bins, groups, level, width, most))
    return _as_maps(totals, maps)


class _Groups(NamedTuple):
    """The valid boxes in groups of the same level and way of `_visits`."""

    order: Any  # [N], the boxes, group by group
    bounds: Any  # [groups + 1], where in `order` each group begins
    row_taps: Any  # indices and weights [N, P, T], the first few of each box
    column_taps: Any  # [N, Q, T]


def _groups(bins, levels, most):
    ways = len(_visits(most))
    needed = jnp.maximum(tap_counts(bins.rows), tap_counts(bins.columns))
    group = bins.level * ways + jnp.clip(needed - 3, 0, ways - 1)
    group = jnp.where(bins.valid, group, levels * ways)
    # Neighbours follow each other, so that what they touch is still in the cache.
    y, x = bins.rows.begin.mean(1), bins.columns.begin.mean(1)
    order = jnp.lexsort((x, y // _BAND, group))
    bounds = jnp.searchsorted(group[order], jnp.arange(levels * ways + 1))
    t = jnp.arange(min(most or _UNROLLED, _UNROLLED))
    return _Groups(order, bounds, taps(bins.rows, t), taps(bins.columns, t))


def _for_level(step, carry, bins, groups, level, width, most):
    """carry = step(visit, n, carry) for every box n of a level.

    Group by group and not by `lax.switch`, whose branches copy the carry on jax 0.10.
    """
    if len(bins.valid) == 0:  # JAX refuses to trace an index into nothing
        return carry
    visits = _visits(most)
    for way, visit in enumerate(visits, start=level * len(visits)):

        def body(i, carry, visit=visit):
            n = groups.order[i]
            box = jax.tree.map(
                lambda a: a[n], (bins.rows, bins.columns, groups.row_taps, groups.column_taps)
            )
            box = _Box(*box, bins.offsets, width)
            return step(functools.partial(visit, box), n, carry)

        carry = jax.lax.fori_loop(groups.bounds[way], groups.bounds[way + 1], body, carry)
    return carry


class _Box(NamedTuple):
    """One box: its bins and the first few taps of them."""

    rows: Axis  # of [P]
    columns: Axis  # of [Q]
    row_taps: Any  # indices and weights, [P, T]
    column_taps: Any  # [Q, T]
    offsets: Any  # [P * Q]
    width: int  # of its map


def _visits(most):
    """Ways to go through a box's taps, by the number of taps an axis: 3, 4, 5, any."""
    few = range(min(most or 3, 3), min(most or _UNROLLED, _UNROLLED) + 1)
    visits = [functools.partial(_visit_few, count) for count in few]
    return visits if most is not None and most <= _UNROLLED else [*visits, _visit_any]


def _visit_few(count, box, step, carry):
    rows, columns = ([a[:, :count] for a in pair] for pair in (box.row_taps, box.column_taps))
    return step(carry, *_cross(rows, columns, box.width, box.offsets))


def _visit_any(box, step, carry):
    def pairs(row, columns):
        rows = taps(box.rows, row)
        return _cross(rows, taps(box.columns, columns), box.width, box.offsets)

    return _visit_in_chunks(step, carry, pairs, tap_counts(box.rows), tap_counts(box.columns))


def _visit_in_chunks(step, carry, pairs, rows, columns):
    def chunk(i, j, carry):
        return step(carry, *pairs(i[None], j * _CHUNK + jnp.arange(_CHUNK)))

    def row(i, carry):
        chunks = -(-columns // _CHUNK)
        return jax.lax.fori_loop(0, chunks, functools.partial(chunk, i), carry)

    return jax.lax.fori_loop(0, rows, row, carry)


def _cross(rows, columns, width, offsets):
    """[P, S] and [Q, T] taps -> [P * Q, S * T] indices into the flat map, and weights."""
    indices = rows[0][:, None, :, None] * width + columns[0][None, :, None, :]
    weights = rows[1][:, None, :, None] * columns[1][None, :, None, :]
    shape = (len(offsets), -1)
    return indices.reshape(shape) + offsets[:, None], weights.reshape(shape)


def _add_rows(flat, total, indices, weights):
    for k in range(indices.shape[1]):  # unrolled: XLA fuses the gathers, one per tap, into the sum
        rows = flat.at[indices[:, k]].get(mode="promise_in_bounds")
        total = total + rows * weights[:, k, None]
    return total


def _scatter_rows(cotangent, total, indices, weights):
    updates = cotangent[:, None] * weights[..., None]  # [P * Q, taps, C]
    updates = updates.reshape(-1, updates.shape[-1])
    return total.at[indices.reshape(-1)].add(updates, mode="promise_in_bounds")


def _as_maps(totals, maps):
    return tuple(t.reshape(image.shape).astype(image.dtype) for t, image in zip(totals, maps))


# For a GPU: the boxes of all maps at once, tap by tap.


def _means_at_once(maps, bins):
    flat = jnp.concatenate([image.reshape(-1, image.shape[-1]) for image in maps])
    start = jnp.zeros((len(bins.valid) * len(bins.offsets), flat.shape[1]), bins.rows.begin.dtype)
    total = _visit_all(functools.partial(_add_rows, flat), start, maps, bins)
    means = total.reshape(len(bins.valid), len(bins.offsets), flat.shape[1])
    return jnp.where(bins.valid[:, None, None], means, jnp.nan)


def _gradients_at_once(maps, bins, cotangent):
    cotangent = jnp.where(bins.valid[:, None, None], cotangent, 0)
    cotangent = cotangent.reshape(-1, cotangent.shape[-1])
    sizes = [image.shape[0] * image.shape[1] for image in maps]
    total = jnp.zeros((sum(sizes), cotangent.shape[1]), cotangent.dtype)
    total = _visit_all(functools.partial(_scatter_rows, cotangent), total, maps, bins)
    starts = [sum(sizes[:i]) for i in range(1, len(sizes))]
    return _as_maps(jnp.split(total, starts), maps)


def _visit_all(step, carry, maps, bins):
    sizes = [image.shape[0] * image.shape[1] for image in maps]
    starts = jnp.array([sum(sizes[:i]) for i in range(len(sizes))])[bins.level]
    widths = jnp.array([image.shape[1] for image in maps])[bins.level]

    def pairs(row, columns):
        rows = taps(bins.rows, row)
        columns = taps(bins.columns, columns)
        offsets = starts[:, None] + bins.offsets[None]
        indices, weights = jax.vmap(_cross)(rows, columns, widths, offsets)
        return indices.reshape(-1, indices.shape[-1]), weights.reshape(-1, weights.shape[-1])

    most = [tap_counts(axis).max(initial=0) for axis in (bins.rows, bins.columns)]
    return _visit_in_chunks(step, carry, pairs, *most)
