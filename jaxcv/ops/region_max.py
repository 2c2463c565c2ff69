"""Maxima over the bins of boxes: RoI pooling, spatial pyramid pooling, the maximum of RoIAlign."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.ops import bins, sliding
from jaxcv.ops.pool import adaptive_max_pool
from jaxcv.ops.program import one_program


def roi_pool(features, boxes, output_size, *, spatial_scale=1.0):
    """Maximum of the map over each bin of each box: [H, W, C] and [N, 4] -> [N, P, Q, C].

    Corners are rounded to whole pixels, halves away from zero, and the last row and column are in:
    a box is at least one pixel. Bins grow to whole pixels, so neighbours may share some, and a bin
    without any gives 0.

    Args:
        features: [H, W, C] float.
        boxes: [N, 4] float, x1, y1, x2, y2 in the image's pixels. N may be 0. One that is not
            finite gives nan.
        output_size: P and Q, an int or a pair.
        spatial_scale: size of the map / size of the image.

    Returns:
        [N, P, Q, C] in the features' dtype. A bin's gradient goes to its first maximum in row
        order, none to the boxes. A nan is the maximum only of a bin that holds nothing else.

    Raises:
        ValueError: shapes, dtypes or options out of range.

    Source: Girshick 2015, "Fast R-CNN", section 2.1; torchvision.ops.roi_pool, but for bins of
        nothing but nan or -inf, which are the lowest float32 there.
    Cost: on a CPU box by box, as many steps as its largest bin has pixels.
    """
    features, boxes, size = bins.checked(features, boxes, output_size)
    return _roi_pool(features, boxes, spatial_scale, size)


@one_program("levels")
def spatial_pyramid_pool(features, *, levels=(4, 2, 1)):
    """Maxima over ever coarser grids as one vector: [H, W, C] -> [C * sum of levels squared].

    Its length does not depend on H and W: 256 channels on 4x4, 2x2 and 1x1 cells give 5,376.

    Args:
        features: [H, W, C] float.
        levels: cells a side of each grid. Cell i of n along an axis of size s covers pixels
            floor(i s / n) to ceil((i + 1) s / n).

    Returns:
        The grids one after another, each by row, column and channel.

    Raises:
        ValueError: features that are not [H, W, C] float, or levels that are no ints from 1 up.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.2.
    """
    features = jnp.asarray(features)
    if features.ndim != 3:
        raise ValueError(
            f"features must be [H, W, C], got {list(features.shape)}."
            " For a batch, jax.vmap the function."
        )
    if not isinstance(levels, Sequence) or not levels:
        raise ValueError(f"levels must be a sequence such as (4, 2, 1), got {levels!r}.")
    levels = sliding.at_least(sliding.per_axis(levels, len(levels), "levels"), 1, "levels")
    grids = [adaptive_max_pool(features[None], output_size=cells) for cells in levels]
    return jnp.concatenate([grid.reshape(-1) for grid in grids])


def surface_maxima(features, starts, extents, size, valid):
    """Maximum of the bilinear surface over each bin: [N, P, Q, C], nan where not valid.

    A bilinear piece has its maximum in a corner, so it is enough to look where lines cross: the
    bin's edges, and the lines of pixels within it.

    Args:
        features: [H, W, C].
        starts, extents: [N, 2] (y, x) of the boxes, in the map's pixels.
        size: P and Q.
        valid: [N] bool.
    """
    edges = []
    for i in range(2):
        start, extent = (jnp.where(valid, a[:, i], 0)[:, None] for a in (starts, extents))
        width = bins.divide(extent, size[i])
        ends = start + jnp.arange(size[i] + 1, dtype=start.dtype)[None] * width
        edges.append(
            (jnp.minimum(ends[:, :-1], ends[:, 1:]), jnp.maximum(ends[:, :-1], ends[:, 1:]))
        )
    y, x, _ = _by_box(_largest_crossing, features, *edges)  # [N, P * Q, C]
    output = _bilinear(features, y, x, _pick)
    output = jnp.where(valid[:, None, None], output, jnp.nan)
    return output.reshape(len(valid), *size, features.shape[-1]).astype(features.dtype)


# Jitted, so that a call outside of `jit` compiles once and not operation by operation.
@functools.partial(jax.jit, static_argnames="size")
def _roi_pool(features, boxes, spatial_scale, size):
    low, high, finite = bins.rounded_corners(features, boxes, spatial_scale)
    extent = jnp.maximum(high - low + 1, 1)
    rows, columns = (
        bins.pixel_bins(low[:, i], extent[:, i], size[i], features.shape[i]) for i in range(2)
    )
    y, x, found = _by_box(_largest_pixel, features, rows, columns)
    output = _pick(features, jnp.maximum(y, 0), jnp.maximum(x, 0))
    output = jnp.where(found[..., None], output, 0)
    output = jnp.where(finite[:, None, None], output, jnp.nan)
    return output.reshape(len(boxes), *size, features.shape[-1])


def _by_box(largest, features, rows, columns):
    """Where each bin has its largest value: y and x [N, P * Q, C], and if it has one [N, P * Q].

    `largest` answers for one box. On a CPU they go one by one, on a GPU all at once.
    """

    def one_by_one(features, rows, columns):
        return jax.lax.map(lambda box: largest(features, *box), (rows, columns))

    return jax.lax.platform_dependent(
        jax.lax.stop_gradient(features),
        rows,
        columns,
        cpu=jax.custom_batching.sequential_vmap(one_by_one),
        default=jax.vmap(largest, (None, 0, 0)),
    )


def _largest_pixel(features, rows, columns):
    """Of the pixels from first to before end, [P] and [Q]."""

    def candidate(i, j):
        y, x = _grid(rows[0] + i, columns[0] + j)
        inside = jnp.logical_and(*_grid(rows[0] + i < rows[1], columns[0] + j < columns[1]))
        height, width = features.shape[:2]
        value = _row(features, jnp.minimum(y, height - 1), jnp.minimum(x, width - 1))
        return value, inside, y, x

    counts = [(end - first).max() for first, end in (rows, columns)]
    return _search(candidate, counts, features, rows, columns)


def _largest_crossing(features, rows, columns):
    """Of the crossings of edges and lines of pixels, from low to high [P] and [Q]."""

    def lines(axis, size):
        low, high = axis
        first = jnp.maximum(jnp.floor(low) + 1, -1)
        count = jnp.maximum(jnp.ceil(jnp.minimum(high, size + 1)) - first, 0)

        def line(k):
            position = jnp.where(k == 0, low, jnp.where(k == 1, high, first + k - 2))
            return position, k - 2 < count

        return line, 2 + count.max()

    row, row_count = lines(rows, features.shape[0])
    column, column_count = lines(columns, features.shape[1])

    def candidate(i, j):
        (y, y_inside), (x, x_inside) = row(i), column(j)
        inside = jnp.logical_and(*_grid(y_inside, x_inside))
        y, x = _grid(y, x)
        return _bilinear(features, y[:, None], x[:, None], _row), inside, y, x

    return _search(candidate, (row_count, column_count), features, rows, columns)


def _search(candidate, counts, features, rows, columns):
    """First largest of the candidates (i, j), i and j below counts: y, x, and if there is one.

    A nan is largest only among nans, and then it is the last.
    """
    count = len(rows[0]) * len(columns[0])
    zeros = jnp.zeros((count, features.shape[-1]), rows[0].dtype)
    # Largest value, nan before the first; its y and x; if there is one.
    start = (jnp.full_like(zeros, jnp.nan), zeros, zeros, jnp.zeros(count, bool))

    def step(i, j, carry):
        best, y, x, found = carry
        value, inside, row, column = candidate(i, j)
        better = inside[:, None] & ((value > best) | jnp.isnan(best))
        best = jnp.where(better, value, best)
        y, x = jnp.where(better, row[:, None], y), jnp.where(better, column[:, None], x)
        return best, y, x, found | inside

    row_count, column_count = (count.astype(jnp.int32) for count in counts)

    def steps(i, carry):
        return jax.lax.fori_loop(0, column_count, functools.partial(step, i), carry)

    return jax.lax.fori_loop(0, row_count, steps, start)[1:]


def _bilinear(features, y, x, read):
    """The map between its pixels, 0 beyond one pixel outside, by four reads of (y, x)."""
    lines = []
    for position, size in ((y, features.shape[0]), (x, features.shape[1])):
        inside = (position >= -1) & (position <= size)
        position = jnp.clip(position, 0, size - 1)
        low = jnp.floor(position)
        lines.append(
            [
                (low, jnp.where(inside, 1 - (position - low), 0)),
                (jnp.minimum(low + 1, size - 1), jnp.where(inside, position - low, 0)),
            ]
        )
    return sum(
        read(features, row, column) * (row_weight * column_weight)
        for row, row_weight in lines[0]
        for column, column_weight in lines[1]
    )


def _row(features, y, x):
    """All channels at (y, x), [P] or [P, 1]: -> [P, C]."""
    index = (y * features.shape[1] + x).astype(jnp.int32).reshape(-1)
    flat = jax.lax.collapse(features, 0, 2)
    return flat.at[index].get(mode="promise_in_bounds")


def _pick(features, y, x):
    """Each channel at a (y, x) of its own: [..., C] positions -> [..., C]."""
    index = (y * features.shape[1] + x).astype(jnp.int32)
    flat = jax.lax.collapse(features, 0, 2)
    channels = jnp.broadcast_to(jnp.arange(flat.shape[1]), index.shape)
    return flat.at[index, channels].get(mode="promise_in_bounds")


def _grid(rows, columns):
    """[P] and [Q] -> that of the row and that of the column, for each of the P * Q bins."""
    shape = (len(rows), len(columns))
    return (
        jnp.broadcast_to(rows[:, None], shape).reshape(-1),
        jnp.broadcast_to(columns[None], shape).reshape(-1),
    )
