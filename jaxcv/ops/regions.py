"""RoIAlign and its relatives: features of boxes, averaged from bilinear samples.

Boxes are x1, y1, x2, y2 in the image's pixels; `spatial_scale` takes them to the map's. No gradient
flows to the boxes (`ops.roi_warp` and `ops.crop_and_resize` have one).
"""

import math

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
        [N, P, Q, C] in the features' dtype. Beyond one pixel outside the map all is 0.

    Raises:
        ValueError: shapes, dtypes or options out of range; a concrete box that needs more samples
            than max_sampling_ratio.

    Source: He et al. 2017, "Mask R-CNN", section 3; torchvision.ops.roi_align, to float32 rounding.
    Cost: 4 to 16 rows of C for a bin at sampling_ratio 2, at most (n + 1)^2 for n x n pixels at 0.
        On a CPU box by box, and likewise backward; on a GPU all boxes at once.
    """
    size = bins.check_regions(features, boxes, output_size)
    if reduction not in ("mean", "max"):
        raise ValueError(f'reduction must be "mean" or "max", got {reduction!r}.')
    ratio = sampling_ratio if reduction == "mean" else 0
    starts, extents = _regions(features, boxes, spatial_scale, aligned)
    valid = _answerable(starts, extents, size, ratio, max_sampling_ratio)
    if reduction == "max":
        return region_max.surface_maxima(features, starts, extents, size, valid)
    level = jnp.zeros(len(boxes), jnp.int32)
    axes = _axes([features], level, starts, extents, size, ratio, valid)
    return _means([features], level, axes, size, valid, _most_taps(ratio, max_sampling_ratio))


def ps_roi_align(features, boxes, output_size, *, spatial_scale=1.0, sampling_ratio=-1):
    """Position-sensitive RoIAlign: [H, W, C * P * Q] and [N, 4] -> [N, P, Q, C].

    Bin (i, j) of channel c reads channel (c * P + i) * Q + j.

    Args:
        features: [H, W, C * P * Q] float.
        boxes, output_size, spatial_scale, sampling_ratio: as of `roi_align`, always aligned.

    Raises:
        ValueError: as `roi_align`, or channels that P * Q does not divide.

    Source: Li et al. 2017, "Light-Head R-CNN"; torchvision.ops.ps_roi_align to float32 rounding,
        but 0 where that is nan (empty and inverted boxes with adaptive sampling).
    """
    size = bins.check_regions(features, boxes, output_size)
    starts, extents = _regions(features, boxes, spatial_scale, aligned=True)
    valid = _answerable(starts, extents, size, sampling_ratio, None)
    level = jnp.zeros(len(boxes), jnp.int32)
    axes = _axes([features], level, starts, extents, size, sampling_ratio, valid)
    return _position_sensitive(features, axes, size, valid, _most_taps(sampling_ratio, None))


def ps_roi_pool(features, boxes, output_size, *, spatial_scale=1.0):
    """Position-sensitive RoI pooling, the mean of each bin: [H, W, C * P * Q] -> [N, P, Q, C].

    Bin (i, j) of channel c reads channel (c * P + i) * Q + j. Corners are rounded to whole pixels,
    bins grow to whole pixels, and those without any give 0. The map's last row and column are never
    read, as in torchvision.

    Args:
        features: [H, W, C * P * Q] float.
        boxes, output_size, spatial_scale: as of `roi_pool`; the last row and column are not in.

    Raises:
        ValueError: as `roi_align`, or channels that P * Q does not divide.

    Source: Dai et al. 2016, "R-FCN", equation 1; torchvision.ops.ps_roi_pool.
    """
    size = bins.check_regions(features, boxes, output_size)
    low, high, valid = bins.rounded_corners(features, boxes, spatial_scale)
    axes = []
    for i in range(2):
        extent = jnp.maximum(high[:, i] - low[:, i], 1)
        first, end = bins.pixel_bins(low[:, i], extent, size[i], features.shape[i] - 1)
        axes.append(bins.pixel_axis(first, end, features.shape[i]))
    return _position_sensitive(features, axes, size, valid, None)


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
        [N, P, Q, C] in the maps' dtype. Each box touches its own level alone.

    Raises:
        ValueError: as `roi_align`, or maps and scales that are no pyramid.

    Source: Lin et al. 2017, "Feature pyramid networks", equation 1; torchvision's
        MultiScaleRoIAlign (its 1e-6 on the level's logarithm included), to float32 rounding.
    """
    features = tuple(features)
    _check_pyramid(features, spatial_scales)
    for image in features:
        size = bins.check_regions(image, boxes, output_size)
    level = _levels(boxes, spatial_scales, canonical_scale, canonical_level)
    scales = jnp.array(spatial_scales, jnp.float32)[level]
    starts, extents = _regions(features[0], boxes, scales[:, None], aligned)
    valid = _answerable(starts, extents, size, sampling_ratio, max_sampling_ratio)
    axes = _axes(features, level, starts, extents, size, sampling_ratio, valid)
    most = _most_taps(sampling_ratio, max_sampling_ratio)
    return _means(features, level, axes, size, valid, most)


def _levels(boxes, spatial_scales, canonical_scale, canonical_level):
    """Place in the pyramid of each box's level: [N] int32."""
    boxes = jax.lax.stop_gradient(boxes).astype(jnp.promote_types(boxes.dtype, jnp.float32))
    sides = jnp.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    side = jnp.sqrt(sides[:, 0] * sides[:, 1])
    # Where each level begins: comparing sides needs no logarithm of what may be 0.
    finest = -round(math.log2(spatial_scales[0]))
    level = jnp.zeros(len(boxes), jnp.int32)
    for i in range(1, len(spatial_scales)):
        start = canonical_scale * 2 ** (finest + i - canonical_level - 1e-6)
        level += side >= start
    return level


def _regions(features, boxes, scale, aligned):
    """The boxes in the map's pixels: starts and extents, [N, 2] each, (y, x)."""
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    boxes = jax.lax.stop_gradient(boxes).astype(dtype) * jnp.asarray(scale, dtype)
    if aligned:
        boxes = boxes - 0.5
    extents = boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        extents = jnp.maximum(extents, 1)
    return boxes[:, 1::-1], extents[:, ::-1]


def _samples(extents, size, ratio):
    """Samples along each side of a bin: [N, 2] whole floats."""
    if ratio > 0:
        return jnp.full_like(extents, ratio)
    needs = [jnp.ceil(bins.divide(extents[:, i], size[i])) for i in range(2)]
    return jnp.maximum(jnp.stack(needs, axis=1), 0)


def _answerable(starts, extents, size, ratio, most):
    """Which boxes are finite and need no more than `most` samples a side: [N] bool."""
    finite = (jnp.isfinite(starts) & jnp.isfinite(extents)).all(1)
    if most is None:
        return finite
    sliding.at_least((most,), 1, "max_sampling_ratio")
    need = jnp.where(finite, _samples(extents, size, ratio).max(1), 0)
    if ratio <= 0 and not isinstance(need, jax.core.Tracer) and (need > most).any():
        raise ValueError(
            f"max_sampling_ratio is {most}, but box {need.argmax()} needs {need.max():.0f} samples"
            " along a side of a bin. Allow that many, or None."
        )
    return finite & ((need <= most) | (ratio > 0))


def _axes(maps, level, starts, extents, size, ratio, valid):
    """Rows and columns of `bins.Bins`; boxes that are not valid lie at 0."""
    starts, extents = (jnp.where(valid[:, None], a, 0) for a in (starts, extents))
    samples = _samples(extents, size, ratio)
    pixels = jnp.array([image.shape[:2] for image in maps], starts.dtype)[level]
    return [
        bins.regular_axis(starts[:, i], extents[:, i], size[i], samples[:, i], pixels[:, i : i + 1])
        for i in range(2)
    ]


def _most_taps(ratio, max_sampling_ratio):
    """A bound on the taps of a bin along an axis, if there is one."""
    if ratio > 0:
        return 2 * ratio
    return None if max_sampling_ratio is None else max_sampling_ratio + 1


def _means(maps, level, axes, size, valid, most, offsets=None):
    """`bins.bin_means` in the maps' dtype: [N, P, Q, C]."""
    if offsets is None:
        offsets = jnp.zeros(math.prod(size), jnp.int32)
    means = bins.bin_means(tuple(maps), bins.Bins(*axes, level, valid, offsets), most)
    return means.reshape(len(valid), *size, means.shape[-1]).astype(maps[0].dtype)


def _position_sensitive(features, axes, size, valid, most):
    """Means where every bin has channels of its own: [H, W, C * P * Q] -> [N, P, Q, C]."""
    height, width, channels = features.shape
    groups, rest = divmod(channels, math.prod(size))
    if rest:
        raise ValueError(
            f"features must have a multiple of {size[0]} x {size[1]} channels, one group for each"
            f" bin, got {channels}."
        )
    # One map for each bin, one below the other.
    maps = features.reshape(height, width, groups, -1).transpose(3, 0, 1, 2)
    maps = maps.reshape(-1, width, groups)
    offsets = jnp.arange(math.prod(size), dtype=jnp.int32) * (height * width)
    level = jnp.zeros(len(valid), jnp.int32)
    return _means([maps], level, axes, size, valid, most, offsets)


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
