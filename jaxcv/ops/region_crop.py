"""Crops of boxes by bilinear samples, differentiable by the map and by the boxes."""

import jax
import jax.numpy as jnp

from jaxcv.ops import bins
from jaxcv.ops.program import one_program
from jaxcv.ops.taps import axis_taps, weighted_rows


@one_program("output_size")
def roi_warp(features, boxes, output_size, *, spatial_scale=1.0):
    """The map warped from each box onto a grid: [H, W, C] and [N, 4] -> [N, P, Q, C].

    Output (i, j) is the map at (y1 + i / P * height, x1 + j / Q * width), bilinear between pixels,
    which lie at whole numbers; outside the map it fades to zero over one pixel.

    Args:
        features: [H, W, C] float. bfloat16 is computed in float32.
        boxes: [N, 4] float, x1, y1, x2, y2 in the image's pixels. N may be 0.
        output_size: P and Q, an int or a pair.
        spatial_scale: size of the map / size of the image.

    Returns:
        [N, P, Q, C] in the features' dtype. It is continuous in the boxes; where a sample lies on a
        pixel its gradient is that towards greater coordinates. Boxes of nan give 0. Reverse mode
        alone (no jvp).

    Raises:
        ValueError: shapes, dtypes or options out of range.

    Source: Dai, He, Sun 2016, "Instance-aware semantic segmentation via multi-task network
        cascades", section 3.2.
    """
    features, boxes, size = bins.checked(features, boxes, output_size)
    boxes = boxes.astype(jnp.promote_types(features.dtype, jnp.float32)) * spatial_scale
    axes = []
    for i in range(2):
        low, high = boxes[:, 1 - i, None], boxes[:, 3 - i, None]
        part = jnp.arange(size[i], dtype=boxes.dtype)[None] / size[i]
        axes.append(low + part * (high - low))  # [N, P]
    return _sample(features, axes)


@one_program("output_size")
def crop_and_resize(features, boxes, output_size, *, extrapolation_value=0.0):
    """The map in each box, resized to one size: [H, W, C] and [N, 4] -> [N, P, Q, C].

    The first and last samples lie on the box's edges, so output (i, j) is the map at
    (y1 + i / (P - 1) * height, x1 + j / (Q - 1) * width), for P or Q of 1 in the middle. Pixels lie
    at whole numbers. A box with x1 > x2 or y1 > y2 gives a flipped crop.

    Args:
        features: [H, W, C] float. bfloat16 is computed in float32.
        boxes: [N, 4] float, x1, y1, x2, y2 in the map's pixels: TensorFlow's y1, x1, y2, x2, which
            are relative, times H - 1 and W - 1. N may be 0.
        output_size: P and Q, an int or a pair.
        extrapolation_value: of samples outside 0..H-1 and 0..W-1.

    Returns:
        [N, P, Q, C] in the features' dtype. Where a sample lies on a pixel its gradient by the box
        is that towards greater coordinates. Samples at nan count as outside. Reverse mode alone (no
        jvp).

    Raises:
        ValueError: shapes, dtypes or options out of range.

    Source: tf.image.crop_and_resize, method "bilinear".
    """
    features, boxes, size = bins.checked(features, boxes, output_size)
    boxes = boxes.astype(jnp.promote_types(features.dtype, jnp.float32))
    axes = []
    for i in range(2):
        low, high = boxes[:, 1 - i, None], boxes[:, 3 - i, None]
        # Not linspace: it computes both ends' shares, and pixels at an edge must not fall outside.
        part = jnp.arange(size[i], dtype=boxes.dtype)[None] / max(size[i] - 1, 1)
        axes.append(low + part * (high - low) if size[i] > 1 else (low + high) / 2)
    inside = [(a >= 0) & (a <= n - 1) for a, n in zip(axes, features.shape[:2])]
    inside = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    output = _sample(features, axes)
    return jnp.where(inside, output, jnp.asarray(extrapolation_value, output.dtype))


def _sample(features, axes):
    """Bilinear samples at y [N, P] and x [N, Q], zeros outside: [N, P, Q, C]."""
    height, width, channels = features.shape
    (rows, row_weights), (columns, column_weights) = (
        axis_taps(axis, size) for axis, size in zip(axes, (height, width))
    )  # [N, P, 2] and [N, Q, 2]
    indices = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    shape = indices.shape[:3]
    flat = jax.lax.collapse(features, 0, 2)
    output = weighted_rows(flat, indices.reshape(-1, 4), weights.reshape(-1, 4))
    return output.reshape(*shape, channels).astype(features.dtype)
