"""Pooling in torch's geometry. Like `ops.conv`, and unlike other ops, these take a batch."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxcv.ops import fusion, sliding
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
        return _max_with_marks(image, rows, columns, places=False)[0]
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
    return _max_with_marks(image, rows, columns, places=True)


@one_program("output_size", "window", "strides", "padding")
def max_unpool(values, indices, *, output_size, window, strides=None, padding=0):
    """Values put back where they were maxima: [B, H', W', C] -> [B, H, W, C], 0 elsewhere.

    Args:
        values: [B, H', W', C] float.
        indices: [B, H', W', C] int32 of `max_pool_with_argmax`, each in its own window. Windows
            that overlap may agree on a pixel: it shows the value of one of them.
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
    return _put_back(values, indices, rows=rows, columns=columns, combine=_the_latter, places=True)


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
    if divisor is not None and not divisor:
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


class _Axis(NamedTuple):
    """One spatial axis of a pooling."""

    size: int  # of the image
    window: int
    stride: int
    low: int  # padding at the top or left
    high: int
    count: int  # windows, the output's size
    dilation: int = 1

    @property
    def extent(self):
        return self.dilation * (self.window - 1) + 1

    def starts(self):
        """Where each window starts, [count]; below 0 in the padding."""
        return np.arange(self.count) * self.stride - self.low

    def first(self):
        """The first pixel of the image in each window, [count]."""
        before = np.maximum(-self.starts(), 0)
        return self.starts() + -(-before // self.dilation) * self.dilation


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
        _Axis(size, width, stride, *pair, count, step)
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
        padding=((0, 0), _reach(rows), _reach(columns), (0, 0)),
    )


def _max_with_marks(image, rows, columns, *, places):
    """Maxima, and the mark of each window's pixel that is the maximum.

    A pixel's mark is its place in the image, row * W + column, or without `places` its number in
    the window, in row order and few bytes.
    """
    start, steps = _marks_of_windows(rows, columns, places)
    # A window of -inf alone answers with its first pixel within the image.
    first_row, first_column = (
        (axis.first() - axis.starts()) // axis.dilation for axis in (rows, columns)
    )
    first = steps[first_row[:, None], first_column][None, :, :, None]

    def of_windows(padded):
        shape = (len(padded), rows.count, columns.count, padded.shape[3])
        maxima = jnp.full(shape, -jnp.inf, padded.dtype)
        marks = jnp.broadcast_to(start + first, shape)
        for (i, j), step in np.ndenumerate(steps):
            pixel = _strided(padded, rows, columns, i * rows.dilation, j * columns.dilation)
            better = (pixel > maxima) | jnp.isnan(pixel)
            maxima = jnp.where(better, pixel, maxima)
            marks = jnp.where(better, start + step, marks)
        return maxima, marks

    padded = _padded(jax.lax.stop_gradient(image), rows, columns, -jnp.inf)
    maxima, marks = fusion.apart(of_windows, padded)
    return _as_marked(image, maxima, marks, rows, columns, places), marks


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def _as_marked(image, maxima, marks, rows, columns, places):
    """The maxima, with the derivatives of the image's pixels that are marked."""
    del image, marks, rows, columns, places
    return maxima


@_as_marked.defjvp
def _as_marked_jvp(rows, columns, places, primals, tangents):
    maxima = _as_marked(*primals, rows, columns, places)  # not those given: it has derivatives too
    tangent = _at_marks(tangents[0], primals[2], rows=rows, columns=columns, places=places)
    return maxima, tangent


def _marks_of_windows(rows, columns, places):
    """Marks of each window's first pixel, [1, H', W', 1] or [], and steps to the others' marks."""
    i, j = np.ogrid[: rows.window, : columns.window]
    if places:
        steps = i * (rows.dilation * columns.size) + j * columns.dilation
        return _places(rows.starts(), columns.starts(), columns.size), steps.astype(np.int32)
    kind = np.min_scalar_type(-rows.window * columns.window)
    return kind.type(0), (i * columns.window + j).astype(kind)


def _marks_of_pixels(row, column, columns, places):
    """[H], [W]: the taps that pixels are of a window. Their marks there, [H, W] int."""
    if places:
        return np.arange(len(row))[:, None] * columns.size + np.arange(len(column))
    return row[:, None] * columns.window + column


def _reach(axis):
    """Padding before and after. Ceil mode's last window may reach beyond that of the options."""
    needed = (axis.count - 1) * axis.stride + axis.extent - axis.size - axis.low
    return axis.low, max(axis.high, needed)


def _strided(padded, rows, columns, y, x):
    """Of every window the pixel (y, x): [B, H', W', C]."""
    last_y, last_x = (rows.count - 1) * rows.stride + y, (columns.count - 1) * columns.stride + x
    return jax.lax.slice(
        padded,
        (0, y, x, 0),
        (padded.shape[0], last_y + 1, last_x + 1, padded.shape[3]),
        (1, rows.stride, columns.stride, 1),
    )


def _at_marks_of_windows(values, marks, *, rows, columns, places):
    """[B, H, W, C] -> [B, H', W', C]: of each window the pixel whose mark is its own.

    Args:
        values: [B, H, W, C] of the pixels.
        marks: [B, H', W', C] int of the windows.
        rows, columns: the axes.
        places: which marks they are, as of `_max_with_marks`.
    """
    padded = _padded(values, rows, columns, 0)
    start, steps = _marks_of_windows(rows, columns, places)
    total = jnp.zeros(marks.shape, values.dtype)
    for (i, j), step in np.ndenumerate(steps):
        pixel = _strided(padded, rows, columns, i * rows.dilation, j * columns.dilation)
        total = jnp.where(marks == start + step, pixel, total)
    return total


def _put_back_to_pixels(values, marks, *, rows, columns, combine, places):
    """[B, H', W', C] -> [B, H, W, C]: at each pixel what the windows say whose mark is its own.

    Each pixel looks at all windows that it lies in, so that the scatter is a loop over pixels.

    Args:
        values, marks: [B, H', W', C] of the windows; marks are int, at least 0.
        rows, columns: the axes.
        combine: makes one of a pixel's value so far, 0 at first, and another.
        places: which marks they are, as of `_max_with_marks`.
    """

    def of_pixels(values, marks):
        values = _repeated(_repeated(values, rows, 1, 0), columns, 2, 0)
        marks = _repeated(_repeated(marks, rows, 1, -1), columns, 2, -1)
        image = jnp.zeros((len(values), rows.size, columns.size, values.shape[3]), values.dtype)
        for top, row in _windows_of_pixels(rows):
            for left, column in _windows_of_pixels(columns):
                within = (row[:, None] >= 0) & (column >= 0)
                mark = np.where(within, _marks_of_pixels(row, column, columns, places), -2)
                seen = (slice(None), slice(top, top + rows.size), slice(left, left + columns.size))
                found = marks[seen] == mark[None, :, :, None].astype(marks.dtype)
                image = jnp.where(found, combine(image, values[seen]), image)
        return image

    return fusion.apart(of_pixels, values, marks)


def _the_latter(_, value):
    return value


def _linear(name, function, transpose):
    """`function` of values and marks, linear in the values, as a primitive with its transpose.

    So it has derivatives of every order in both modes; JAX's own rules would transpose it into
    sums over padded images, tap by tap. Axes in front of its arrays' four are those of `vmap`.
    """
    primitive = Primitive(f"pool_{name}")
    options = ("rows", "columns", "combine", "places")
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=options))
    mapped = functools.partial(_mapped, function)
    primitive.def_abstract_eval(functools.partial(_abstract, mapped))
    mlir.register_lowering(primitive, mlir.lower_fun(mapped, multiple_results=False))
    batching.primitive_batchers[primitive] = functools.partial(_batched, primitive)
    ad.deflinear2(primitive, lambda g, _, marks, **options: [transpose(g, marks, **options), None])
    # Marks have no tangent.
    ad.defjvp(primitive, lambda g, _, marks, **options: primitive.bind(g, marks, **options), None)
    return primitive.bind


def _mapped(function, values, marks, **options):
    function = functools.partial(function, **options)
    for _ in values.shape[:-4]:
        function = jax.vmap(function)
    return function(values, marks)


def _abstract(function, values, marks, **options):
    shape = jax.eval_shape(functools.partial(function, **options), values, marks).shape
    return values.update(shape=shape, weak_type=False)


def _batched(primitive, arrays, axes, **options):
    count = next(a.shape[axis] for a, axis in zip(arrays, axes) if axis is not None)
    arrays = [
        jnp.broadcast_to(a, (count, *a.shape)) if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(arrays, axes)
    ]
    return primitive.bind(*arrays, **options), 0


_at_marks = _linear(
    "at_marks",
    _at_marks_of_windows,
    lambda g, marks, **options: _put_back(g, marks, combine=jax.lax.add, **options),
)
_put_back = _linear(
    "put_back",
    _put_back_to_pixels,
    lambda g, marks, combine, **options: _at_marks(g, marks, **options),
)


def _repeated(array, axis, place, fill):
    """What the windows say, put at all pixels of their strides, with windows beyond both ends."""
    before = -(-axis.extent // axis.stride) - 1
    after = (axis.size - 1 + axis.low) // axis.stride + 1 - axis.count
    padding = [(0, 0, 0)] * array.ndim
    padding[place] = (before, after, 0)
    array = jax.lax.pad(array, jnp.asarray(fill, array.dtype), padding)
    return jnp.repeat(array, axis.stride, axis=place)


def _windows_of_pixels(axis):
    """For each window that a pixel may lie in: (where it is in `_repeated`, which of its taps).

    The taps are [size] int, of each pixel along the axis; -1 where it is none of the window's.
    """
    within = (np.arange(axis.size) + axis.low) % axis.stride
    most = -(-axis.extent // axis.stride)
    for back in range(most):
        tap, off = np.divmod(within + back * axis.stride, axis.dilation)
        tap = np.where((off == 0) & (tap < axis.window), tap, -1)
        yield (most - 1 - back) * axis.stride + axis.low, tap


def _padded(image, rows, columns, value):
    padding = ((0, 0, 0), (*_reach(rows), 0), (*_reach(columns), 0), (0, 0, 0))
    return jax.lax.pad(image, jnp.asarray(value, image.dtype), padding)


def _places(rows, columns, width):
    """Flat indices of pixels: [1, H, W, 1] int32."""
    return jnp.asarray(rows[:, None] * width + columns, jnp.int32)[None, :, :, None]


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
