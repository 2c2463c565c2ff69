"""Pooling in torch's geometry. Like `ops.conv`, and unlike other ops, these take a batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops import sliding


def max_pool(image, *, window, strides=None, padding=0, ceil_mode=False):
    """Maximum over each window: [B, H, W, C] -> [B, H', W', C].

    The gradient of a window goes to its maximum, to the first in row order where several are equal.

    Args:
        image: [B, H, W, C] float.
        window: height and width, an int or a pair.
        strides: an int or a pair; the window's size if None.
        padding: as of `ops.conv`, at most half the window; never the maximum.
        ceil_mode: round H' and W' up instead of down, except for a window that would start beyond
            the image.

    Raises:
        ValueError: an image that is not [B, H, W, C] float, or options out of range.

    Source: torch.nn.functional.max_pool2d.
    """
    rows, columns = _axes(image, window, strides, padding, ceil_mode)
    return _reduce(image, -jnp.inf, jax.lax.max, rows, columns)


def avg_pool(image, *, window, strides=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Mean over each window: [B, H, W, C] -> [B, H', W', C], summed in float32 at least.

    Args:
        image: [B, H, W, C] float.
        window, strides, padding, ceil_mode: as of `max_pool`.
        count_include_pad: the padding counts as zeros (else not at all). What `ceil_mode` adds
            beyond the padding never counts.

    Raises:
        ValueError: an image that is not [B, H, W, C] float, or options out of range.

    Source: torch.nn.functional.avg_pool2d.
    """
    rows, columns = _axes(image, window, strides, padding, ceil_mode)
    wide = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    total = _reduce(wide, 0.0, jax.lax.add, rows, columns)
    counts = np.outer(_counts(rows, count_include_pad), _counts(columns, count_include_pad))
    return (total / counts[:, :, None].astype(total.dtype)).astype(image.dtype)


def adaptive_avg_pool(image, *, output_size):
    """Means over a grid of `output_size` cells: [B, H, W, C] -> [B, H', W', C].

    Cell i of n along an axis of size s covers pixels floor(i s / n) to ceil((i + 1) s / n): where n
    does not divide s neighbours overlap, and where n is larger pixels repeat.

    Args:
        image: [B, H, W, C] float.
        output_size: an int or (H', W').

    Raises:
        ValueError: an image that is not [B, H, W, C] float, or an output_size below 1.

    Source: torch.nn.functional.adaptive_avg_pool2d.
    """
    _check_image(image)
    output_size = sliding.per_axis(output_size, 2, "output_size")
    sliding.at_least(output_size, 1, "output_size")
    pooled = jnp.asarray(image, jnp.promote_types(image.dtype, jnp.float32))
    for axis, cells in enumerate(output_size, start=1):
        size = image.shape[axis]
        means = [
            jax.lax.slice_in_dim(
                pooled, cell * size // cells, -(-(cell + 1) * size // cells), axis=axis
            ).mean(axis)
            for cell in range(cells)
        ]
        pooled = jnp.stack(means, axis)
    return pooled.astype(image.dtype)


class _Axis(NamedTuple):
    """One spatial axis of a pooling."""

    size: int  # of the image
    window: int
    stride: int
    low: int  # padding at the top or left
    high: int
    count: int  # windows, the output's size


def _axes(image, window, strides, padding, ceil_mode):
    """The two axes of a pooling, checked."""
    _check_image(image)
    window = sliding.at_least(sliding.per_axis(window, 2, "window"), 1, "window")
    strides = window if strides is None else sliding.per_axis(strides, 2, "strides")
    sliding.at_least(strides, 1, "strides")
    padding = sliding.padding_pairs(padding, extents=window, strides=strides)
    # More could give a window without a single pixel of the image.
    if any(max(pair) > size // 2 for pair, size in zip(padding, window)):
        raise ValueError(f"padding must be at most half of window {window}, got {padding}.")
    sizes = image.shape[1:3]
    counts = sliding.window_counts(
        sizes, extents=window, strides=strides, padding=padding, ceil_mode=ceil_mode
    )
    return [
        _Axis(size, width, stride, *pair, count)
        for size, width, stride, pair, count in zip(sizes, window, strides, padding, counts)
    ]


def _reduce(image, start, operation, rows, columns):
    # Ceil mode's last window may reach beyond the padding.
    padding = [
        (
            axis.low,
            max(axis.high, (axis.count - 1) * axis.stride + axis.window - axis.size - axis.low),
        )
        for axis in (rows, columns)
    ]
    return jax.lax.reduce_window(
        image,
        start,
        operation,
        window_dimensions=(1, rows.window, columns.window, 1),
        window_strides=(1, rows.stride, columns.stride, 1),
        padding=((0, 0), *padding, (0, 0)),
    )


def _counts(axis, include_padding):
    """How many pixels each window along an axis averages: [count] int."""
    first, last = (-axis.low, axis.size + axis.high) if include_padding else (0, axis.size)
    starts = np.arange(axis.count) * axis.stride - axis.low
    return np.minimum(starts + axis.window, last) - np.maximum(starts, first)


def _check_image(image):
    if image.ndim != 4:
        raise ValueError(
            f"image must be [B, H, W, C], got {list(image.shape)}. For one image: image[None]."
        )
    sliding.check_floating(image=image)
