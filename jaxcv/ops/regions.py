"""RoIAlign and its relatives: features of boxes, averaged from bilinear samples.

Boxes are x1, y1, x2, y2 in the image's pixels; `spatial_scale` takes them to the map's. No gradient
flows to the boxes (`ops.roi_warp` and `ops.crop_and_resize` have one). Means have reverse mode
alone (no jvp), and no second derivative on a CPU, whose loops cannot be differentiated: an error.
"""

import functools
import math
import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcv.ops import bins, region_max, sliding


def roi_align(
    features,
    boxes,
    output_size,
    *,
    spatial_scale=1.0,
    sampling_ratio=-1,
    aligned=False,
    max_sampling_ratio=None,
    reduction="mean",
):
    """Features of each box on a grid of bins: [H, W, C] and [N, 4] -> [N, P, Q, C].

    Args:
        features: [H, W, C] float. bfloat16 is computed in float32.
        boxes: [N, 4] float. N may be 0. A box that is not finite gives nan.
        output_size: P and Q, an int or a pair.
        spatial_scale: size of the map / size of the image.
        sampling_ratio: samples along each side of a bin; 0 and less: as many as the bin has pixels,
            rounded up, so none in an empty or inverted box, which gives 0.
        aligned: shift by half a pixel, so that pixel i covers i to i + 1 (else pixel i is at i, and
            boxes are at least one pixel wide and high).
        max_sampling_ratio: most samples along a side of a bin that any box may ask for; compiles
            faster where small. None: as many as the boxes need. A box that needs more is an error,
            under a trace nan.
        reduction: "mean" of the samples, or "max", the maximum of the bilinear surface over the
            whole bin. That one has no use for sampling_ratio: it looks at every line of pixels.

    Returns:
        [N, P, Q, C] in the features' dtype. Beyond one pixel outside the map all is 0. A "max" is
        nan only where all that it looks at is. A "mean" has reverse mode alone (no jvp).

    Raises:
        ValueError: shapes, dtypes or options out of range; a concrete box that needs more samples
            than max_sampling_ratio.

    Source: He et al. 2017, "Mask R-CNN", section 3; torchvision.ops.roi_align, to float32 rounding.
    Cost: 4 to 16 rows of C for a bin at sampling_ratio 2, at most (n + 1)^2 for n x n pixels at 0.
        On a CPU box by box, and likewise backward; on a GPU all boxes at once.
    """
    features, boxes, size = bins.checked(features, boxes, output_size)
    if reduction not in ("mean", "max"):
        raise ValueError(f'reduction must be "mean" or "max", got {reduction!r}.')
    _check_ratios(sampling_ratio, max_sampling_ratio)
    ratio = sampling_ratio if reduction == "mean" else 0
    pyramid = _Pyramid((features,), (spatial_scale,), ())
    grid = _checked_grid(pyramid, boxes, size, ratio, aligned, max_sampling_ratio)
    if reduction == "max":
        return _maxima(pyramid, boxes, grid)
    return _means(pyramid, boxes, grid)


def ps_roi_align(features, boxes, output_size, *, spatial_scale=1.0, sampling_ratio=-1):
    """Position-sensitive RoIAlign: [H, W, C * P * Q] and [N, 4] -> [N, P, Q, C].

    Bin (i, j) of channel c reads channel (c * P + i) * Q + j.

    Args:
        features: [H, W, C * P * Q] float.
        boxes, output_size, spatial_scale, sampling_ratio: as of `roi_align`, always aligned.

    Returns:
        [N, P, Q, C] in the features' dtype. Reverse mode alone (no jvp).

    Raises:
        ValueError: as `roi_align`, or channels that P * Q does not divide.

    Source: Li et al. 2017, "Light-Head R-CNN"; torchvision.ops.ps_roi_align to float32 rounding,
        but 0 where that is nan (empty and inverted boxes with adaptive sampling).
    """
    features, boxes, size = bins.checked(features, boxes, output_size)
    _check_groups(features, size)
    _check_ratios(sampling_ratio)
    grid = _Grid(size, sampling_ratio, aligned=True, most=None)
    return _group_means(_Pyramid((features,), (spatial_scale,), ()), boxes, grid)


def ps_roi_pool(features, boxes, output_size, *, spatial_scale=1.0):
    """Position-sensitive RoI pooling, the mean of each bin: [H, W, C * P * Q] -> [N, P, Q, C].

    Bin (i, j) of channel c reads channel (c * P + i) * Q + j. Corners are rounded to whole pixels,
    bins grow to whole pixels, and those without any give 0. The map's last row and column are never
    read, as in torchvision.

    Args:
        features: [H, W, C * P * Q] float.
        boxes, output_size, spatial_scale: as of `roi_pool`; the last row and column are not in.

    Returns:
        [N, P, Q, C] in the features' dtype. Reverse mode alone (no jvp).

    Raises:
        ValueError: as `roi_align`, or channels that P * Q does not divide.

    Source: Dai et al. 2016, "R-FCN", equation 1; torchvision.ops.ps_roi_pool.
    """
    features, boxes, size = bins.checked(features, boxes, output_size)
    _check_groups(features, size)
    return _group_pools(features, boxes, spatial_scale, size)


def multiscale_roi_align(
    features,
    boxes,
    output_size,
    *,
    spatial_scales,
    sampling_ratio=2,
    aligned=False,
    max_sampling_ratio=None,
    canonical_scale=224,
    canonical_level=4,
):
    """RoIAlign of each box on the level of a pyramid that its size calls for: -> [N, P, Q, C].

    A box of area A belongs to level floor(canonical_level + log2(sqrt(A) / canonical_scale)), where
    level k has scale 2^-k, or to the nearest level there is; a box without area to the finest.

    Args:
        features: sequence of [H, W, C] float maps, each of half the scale of the one before.
        boxes: [N, 4] float, in the image's pixels.
        output_size: P and Q, an int or a pair.
        spatial_scales: size of each map / size of the image, powers of two such as (1/4, 1/8).
        sampling_ratio, aligned, max_sampling_ratio: as of `roi_align`.
        canonical_scale, canonical_level: a box of canonical_scale squared is on canonical_level.

    Returns:
        [N, P, Q, C] in the maps' dtype. Each box touches its own level alone. Reverse mode alone
        (no jvp).

    Raises:
        ValueError: as `roi_align`, or maps and scales that are no pyramid.

    Source: Lin et al. 2017, "Feature pyramid networks", equation 1; torchvision's
        MultiScaleRoIAlign (its 1e-6 on the level's logarithm included), to float32 rounding.
    """
    features = tuple(jnp.asarray(image) for image in features)
    _check_pyramid(features, spatial_scales)
    _check_ratios(sampling_ratio, max_sampling_ratio)
    for image in features:
        _, boxes, size = bins.checked(image, boxes, output_size)
    finest = -round(math.log2(spatial_scales[0]))
    # Where each level but the first begins, as the side of a square.
    starts = tuple(
        canonical_scale * 2 ** (finest + i - canonical_level - 1e-6)
        for i in range(1, len(features))
    )
    pyramid = _Pyramid(features, tuple(spatial_scales), starts)
    grid = _checked_grid(pyramid, boxes, size, sampling_ratio, aligned, max_sampling_ratio)
    return _means(pyramid, boxes, grid)


class _Pyramid(NamedTuple):
    """Maps, finest first, or a single one."""

    maps: Any  # tuple of [H, W, C]
    scales: Any  # of each map
    starts: Any  # side of the smallest box of each map but the first


class _Grid(NamedTuple):
    """What is asked of each box."""

    size: Any  # (P, Q)
    ratio: int  # samples a side of a bin, adaptive from 0 down
    aligned: bool
    most: Any  # adaptive samples a side, or None


# Jitted, so that a call outside of `jit` compiles once and not operation by operation.


@functools.partial(jax.jit, static_argnames="grid")
def _means(pyramid, boxes, grid):
    offsets = jnp.zeros(math.prod(grid.size), jnp.int32)
    plan = bins.Bins(*_plan(pyramid, boxes, grid), offsets)
    return _bin_means(pyramid.maps, plan, grid.size, _most_taps(grid))


@functools.partial(jax.jit, static_argnames="grid")
def _group_means(pyramid, boxes, grid):
    maps, offsets = _one_map_a_bin(pyramid.maps[0], grid.size)
    plan = bins.Bins(*_plan(pyramid, boxes, grid), offsets)
    return _bin_means(maps, plan, grid.size, _most_taps(grid))


@functools.partial(jax.jit, static_argnames="size")
def _group_pools(features, boxes, spatial_scale, size):
    low, high, valid = bins.rounded_corners(features, boxes, spatial_scale)
    axes = []
    for i in range(2):
        extent = jnp.maximum(high[:, i] - low[:, i], 1)
        first, end = bins.pixel_bins(low[:, i], extent, size[i], features.shape[i] - 1)
        axes.append(bins.pixel_axis(first, end, features.shape[i]))
    maps, offsets = _one_map_a_bin(features, size)
    plan = bins.Bins(*axes, jnp.zeros(len(boxes), jnp.int32), valid, offsets)
    return _bin_means(maps, plan, size, most=None)


@functools.partial(jax.jit, static_argnames="grid")
def _maxima(pyramid, boxes, grid):
    starts, extents, _ = _regions(pyramid, boxes, grid)
    valid = _answerable(starts, extents, grid)
    return region_max.surface_maxima(pyramid.maps[0], starts, extents, grid.size, valid)


def _bin_means(maps, plan, size, most):
    """`bins.bin_means` in the maps' dtype: [N, P, Q, C]."""
    if maps[0].shape[-1] == 0:  # of which it cannot make one long list of rows
        return jnp.zeros((len(plan.valid), *size, 0), maps[0].dtype)
    means = bins.bin_means(maps, plan, most)
    return means.reshape(len(means), *size, means.shape[-1]).astype(maps[0].dtype)


def _plan(pyramid, boxes, grid):
    """The first fields of `bins.Bins`: rows, columns, level, valid."""
    starts, extents, level = _regions(pyramid, boxes, grid)
    valid = _answerable(starts, extents, grid)
    # Those that are not valid lie at 0.
    starts, extents = (jnp.where(valid[:, None], a, 0) for a in (starts, extents))
    samples = _samples(extents, grid)
    pixels = jnp.array([image.shape[:2] for image in pyramid.maps], starts.dtype)[level]
    rows, columns = (
        bins.regular_axis(
            starts[:, i], extents[:, i], grid.size[i], samples[:, i], pixels[:, i : i + 1]
        )
        for i in range(2)
    )
    return rows, columns, level, valid


def _regions(pyramid, boxes, grid):
    """Starts and extents of the boxes in their map's pixels, [N, 2] (y, x), and which map, [N]."""
    dtype = jnp.promote_types(pyramid.maps[0].dtype, jnp.float32)
    boxes = jax.lax.stop_gradient(boxes).astype(dtype)
    sides = jnp.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    side = jnp.sqrt(sides[:, 0] * sides[:, 1])
    level = sum((side >= s for s in pyramid.starts), start=jnp.zeros(len(boxes), jnp.int32))
    scales = jnp.stack([jnp.asarray(scale, dtype) for scale in pyramid.scales])
    boxes = boxes * scales[level][:, None] - 0.5 * grid.aligned
    extents = boxes[:, 2:] - boxes[:, :2]
    if not grid.aligned:
        extents = jnp.maximum(extents, 1)
    return boxes[:, 1::-1], extents[:, ::-1], level


def _samples(extents, grid):
    """Samples along each side of a bin: [N, 2] whole floats."""
    if grid.ratio > 0:
        return jnp.full_like(extents, grid.ratio)
    needs = [jnp.ceil(bins.divide(extents[:, i], grid.size[i])) for i in range(2)]
    return jnp.maximum(jnp.stack(needs, axis=1), 0)


def _answerable(starts, extents, grid):
    """Which boxes are finite and need no more than the most samples: [N] bool."""
    finite = (jnp.isfinite(starts) & jnp.isfinite(extents)).all(1)
    if grid.ratio > 0 or grid.most is None:
        return finite
    return finite & (_samples(extents, grid).max(1) <= grid.most)


def _most_taps(grid):
    """A bound on the taps of a bin along an axis, if there is one."""
    if grid.ratio > 0:
        return 2 * grid.ratio
    return None if grid.most is None else grid.most + 1


def _one_map_a_bin(features, size):
    """[H, W, C * P * Q] -> a map for each bin, one below the other, and where each begins."""
    height, width, channels = features.shape
    count = math.prod(size)
    maps = features.reshape(height, width, channels // count, count).transpose(3, 0, 1, 2)
    maps = maps.reshape(count * height, width, channels // count)
    return (maps,), jnp.arange(count, dtype=jnp.int32) * (height * width)


def _checked_grid(pyramid, boxes, size, ratio, aligned, most):
    """_Grid, if the boxes, where their values are known, need no more than the most samples."""
    grid = _Grid(size, ratio, aligned, most)
    if most is None:
        return grid
    sliding.at_least((most,), 1, "max_sampling_ratio")
    if ratio > 0 or isinstance(boxes, jax.core.Tracer):
        return grid
    _, extents, _ = _regions(pyramid, boxes, grid)
    need = jnp.where(jnp.isfinite(extents).all(1), _samples(extents, grid).max(1), 0)
    if not isinstance(need, jax.core.Tracer) and (need > most).any():
        raise ValueError(
            f"max_sampling_ratio is {most}, but box {need.argmax()} needs {need.max():.0f} samples"
            " along a side of a bin. Allow that many, or None."
        )
    return grid


def _check_ratios(sampling_ratio, max_sampling_ratio=None):
    if not isinstance(sampling_ratio, numbers.Integral):
        raise ValueError(
            f"sampling_ratio must be an int, 0 or -1 for as many as needed, got {sampling_ratio!r}."
        )
    if max_sampling_ratio is not None and not isinstance(max_sampling_ratio, numbers.Integral):
        raise ValueError(f"max_sampling_ratio must be an int or None, got {max_sampling_ratio!r}.")


def _check_groups(features, size):
    if features.shape[-1] % math.prod(size):
        raise ValueError(
            f"features must have a multiple of {size[0]} x {size[1]} channels, one group for each"
            f" bin, got {features.shape[-1]}."
        )


def _check_pyramid(features, spatial_scales):
    if not features or len(features) != len(spatial_scales):
        raise ValueError(
            f"features must be one map for each of spatial_scales, got {len(features)} maps and"
            f" {len(spatial_scales)} scales."
        )
    expected = [spatial_scales[0] / 2**i for i in range(len(features))]
    if list(spatial_scales) != expected or math.log2(spatial_scales[0]) % 1:
        raise ValueError(
            "spatial_scales must be powers of two, each half of the one before, such as"
            f" (1/4, 1/8), got {spatial_scales}."
        )
    kinds = {(image.shape[-1], str(image.dtype)) for image in features}
    if len(kinds) > 1:
        raise ValueError(f"features must agree in channels and dtype, got {sorted(kinds)}.")
