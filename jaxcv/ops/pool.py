"""Pooling in torch's geometry. Like `ops.conv`, and unlike other ops, these take a batch."""

import numbers

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops import pool_marks, sliding
from jaxcv.ops.program import one_program

# Up to this size of window the maximum is taken tap by tap, which keeps where it lies: on a CPU its
# gradient is much faster than that of XLA's window loop, which serves the others.
_MOST_TAPS = 25


@one_program("window", "strides", "padding", "dilation", "ceil_mode")
def max_pool(image, *, window, strides=None, padding=0, dilation=1, ceil_mode=False):
    """Maximum over each window: [B, H, W, C] -> [B, H', W', C].

    The gradient of a window goes to its maximum, to the first in row order where several are equal.
    (Which of several nan or -inf, and whether to one, windows of more than 25 pixels leave open.)

    Args:
        image: [B, H, W, C] float.
        window: height and width, an int or a pair.
        strides: an int or a pair; the window's size if None.
        padding: as of `ops.conv`, at most half the window; never the maximum.
        dilation: pixels from one of the window's to the next, an int or a pair.
        ceil_mode: round H' and W' up instead of down, except for a window that would start beyond
            the image.

    Raises:
        ValueError: an image that is not [B, H, W, C] float, or options out of range.

    Source: torch.nn.functional.max_pool2d.
    """
    image = jnp.asarray(image)
    rows, columns = _axes(image, window, strides, padding, ceil_mode, dilation)
    if rows.window * columns.window <= _MOST_TAPS or max(rows.dilation, columns.dilation) > 1:
        return pool_marks.max_with_marks(image, rows, columns, places=False)[0]
    return _reduce(image, -jnp.inf, jax.lax.max, rows, columns)


@one_program("window", "strides", "padding", "dilation", "ceil_mode")
def max_pool_with_argmax(image, *, window, strides=None, padding=0, dilation=1, ceil_mode=False):
    """Maximum over each window and where it lies: [B, H, W, C] -> [B, H', W', C] twice.

    Args:
        image, window, strides, padding, dilation, ceil_mode: as of `max_pool`.

    Returns:
        The maxima (nan where a window has one), and the places as int32, row * W + column in the
        image: of equal maxima the first in row order, of several nan the last.

    Raises:
        ValueError: an image that is not [B, H, W, C] float, or options out of range.

    Source: torch.nn.functional.max_pool2d with return_indices=True.
    """
    image = jnp.asarray(image)
    rows, columns = _axes(image, window, strides, padding, ceil_mode, dilation)
    return pool_marks.max_with_marks(image, rows, columns, places=True)


@one_program("output_size", "window", "strides", "padding")
def max_unpool(values, indices, *, output_size, window, strides=None, padding=0):
    """Values put back where they were maxima: [B, H', W', C] -> [B, H, W, C], 0 elsewhere.

    Args:
        values: [B, H', W', C] float.
        indices: [B, H', W', C] int32 of `max_pool_with_argmax`, each in its own window. Windows
            that overlap may agree on a pixel: it shows the value of one of them. Reverse mode then
            gives its gradient to all of them, as torch's, forward mode takes the tangent shown.
        output_size: (H, W) of the image that was pooled.
        window, strides, padding: those of the pooling, whose dilation was 1.

    Raises:
        ValueError: arrays that differ in shape, or options that do not give their size.

    Source: torch.nn.functional.max_unpool2d. Zeiler, Fergus 2014, "Visualizing and understanding
        convolutional networks", section 2.1.
    """
    values, indices = jnp.asarray(values), jnp.asarray(indices)
    _check_image(values, "values")
    if indices.shape != values.shape or not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ValueError(
            f"indices must be {list(values.shape)} int, as the values, got"
            f" {list(indices.shape)} {indices.dtype}."
        )
    like = jax.ShapeDtypeStruct((len(values), *output_size, values.shape[3]), values.dtype)
    axes = _axes(like, window, strides, padding, True, 1)
    for name, axis, count in zip(("height", "width"), axes, values.shape[1:]):
        if count not in (axis.count, axis.count - 1):
            raise ValueError(
                f"output_size {tuple(output_size)} does not fit: its {name} gives {axis.count}"
                f" windows, the values have {count}."
            )
    rows, columns = (axis._replace(count=n) for axis, n in zip(axes, values.shape[1:]))
    return pool_marks.put_back(
        values,
        indices,
        rows=rows,
        columns=columns,
        combine=pool_marks.the_latter,
        places=True,
    )


@one_program("window", "strides", "padding", "ceil_mode", "count_include_pad", "divisor")
def avg_pool(
    image,
    *,
    window,
    strides=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor=None,
):
    """Mean over each window: [B, H, W, C] -> [B, H', W', C], summed in float32 at least.

    Args:
        image: [B, H, W, C] float.
        window, strides, padding, ceil_mode: as of `max_pool`.
        count_include_pad: the padding counts as zeros (else not at all). What `ceil_mode` adds
            beyond the padding never counts.
        divisor: divide the sums by this number instead, torch's `divisor_override`.

    Raises:
        ValueError: an image that is not [B, H, W, C] float, or options out of range.

    Source: torch.nn.functional.avg_pool2d.
    """
    image = jnp.asarray(image)
    rows, columns = _axes(image, window, strides, padding, ceil_mode)
    if isinstance(divisor, numbers.Real) and divisor == 0:
        raise ValueError("divisor must not be 0.")
    wide = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    total = _reduce(wide, 0.0, jax.lax.add, rows, columns)
    if divisor is not None:
        return (total / divisor).astype(image.dtype)
    counts = np.outer(_counts(rows, count_include_pad), _counts(columns, count_include_pad))
    return (total / counts[None, :, :, None].astype(total.dtype)).astype(image.dtype)


@one_program("output_size")
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
    image = jnp.asarray(image)
    _check_image(image)
    wide = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    return _adaptive(wide, output_size, jnp.mean).astype(image.dtype)


@one_program("output_size")
def adaptive_max_pool(image, *, output_size):
    """Maxima over a grid of `output_size` cells: [B, H, W, C] -> [B, H', W', C].

    Args:
        image, output_size: as of `adaptive_avg_pool`, whose cells these are.

    Returns:
        The maxima, nan where a cell has one. A cell's gradient goes to its maximum, to the first in
        row order where several are equal.

    Raises:
        ValueError: an image that is not [B, H, W, C] float, or an output_size below 1.

    Source: torch.nn.functional.adaptive_max_pool2d.
    """
    image = jnp.asarray(image)
    _check_image(image)
    return _adaptive(image, output_size, _first_max)


def _axes(image, window, strides, padding, ceil_mode, dilation=1):
    """The two axes of a pooling, checked."""
    _check_image(image)
    window = sliding.at_least(sliding.per_axis(window, 2, "window"), 1, "window")
    strides = window if strides is None else sliding.per_axis(strides, 2, "strides")
    sliding.at_least(strides, 1, "strides")
    dilation = sliding.at_least(sliding.per_axis(dilation, 2, "dilation"), 1, "dilation")
    extents = tuple(d * (size - 1) + 1 for size, d in zip(window, dilation))
    padding = sliding.padding_pairs(padding, extents=extents, strides=strides)
    # More could give a window without a single pixel of the image.
    if any(max(pair) > extent // 2 for pair, extent in zip(padding, extents)):
        raise ValueError(f"padding must be at most half of window {extents}, got {padding}.")
    sizes = image.shape[1:3]
    counts = sliding.window_counts(
        sizes, extents=extents, strides=strides, padding=padding, ceil_mode=ceil_mode
    )
    return [
        pool_marks.Axis(size, width, stride, *pair, count, step)
        for size, width, stride, pair, count, step in zip(
            sizes, window, strides, padding, counts, dilation
        )
    ]


def _reduce(image, start, operation, rows, columns):
    return jax.lax.reduce_window(
        image,
        start,
        operation,
        window_dimensions=(1, rows.window, columns.window, 1),
        window_strides=(1, rows.stride, columns.stride, 1),
        padding=((0, 0), rows.reach(), columns.reach(), (0, 0)),
    )


def _first_max(array, axis):
    """Maxima along an axis, whose gradient goes to the first of equals."""
    place = jnp.argmax(array, axis, keepdims=True)
    return jnp.take_along_axis(array, place, axis).squeeze(axis)


def _adaptive(image, output_size, reduce):
    if not all(image.shape[1:3]):
        raise ValueError(f"image must have pixels, got {list(image.shape)}.")
    output_size = sliding.per_axis(output_size, 2, "output_size")
    sliding.at_least(output_size, 1, "output_size")
    # Along rows first: the first maximum of a cell is then the first in row order.
    for axis, cells in ((2, output_size[1]), (1, output_size[0])):
        size = image.shape[axis]
        values = [
            reduce(
                jax.lax.slice_in_dim(
                    image, cell * size // cells, -(-(cell + 1) * size // cells), axis=axis
                ),
                axis=axis,
            )
            for cell in range(cells)
        ]
        image = jnp.stack(values, axis)
    return image


def _counts(axis, include_padding):
    """How many pixels each window along an axis averages: [count] int."""
    first, last = (-axis.low, axis.size + axis.high) if include_padding else (0, axis.size)
    starts = axis.starts()
    return np.minimum(starts + axis.window, last) - np.maximum(starts, first)


def _check_image(image, name="image"):
    if image.ndim != 4:
        raise ValueError(
            f"{name} must be [B, H, W, C], got {list(image.shape)}. For one image: {name}[None]."
        )
    sliding.check_floating(**{name: image})
