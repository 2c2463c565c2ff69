"""Maxima of windows, where they lie, and the linear maps between pixels and such places.

A pixel's mark is its place in the image, row * W + column, or without `places` its number in the
window, in row order and few bytes.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops import fusion, linear_map


class Axis(NamedTuple):
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

    def reach(self):
        """Padding before and after. Ceil mode's last window may lie beyond that of the options."""
        needed = (self.count - 1) * self.stride + self.extent - self.size - self.low
        return self.low, max(self.high, needed)


def max_with_marks(image, rows, columns, *, places):
    """Maxima [B, H', W', C] of [B, H, W, C], and the mark of each window's pixel that is it."""
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
    tangent = at_marks(tangents[0], primals[2], rows=rows, columns=columns, places=places)
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
        places: which marks they are, as of `max_with_marks`.
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
        places: which marks they are, as of `max_with_marks`.
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


def the_latter(_, value):
    """Of what windows say of one pixel: not their sum, as `jax.lax.add`, but one of them."""
    return value


def _linear(name, function, side, transpose):
    """`function` of values and marks as a linear map of the values, with its transpose.

    `side` is the result's length along an Axis.
    """

    def shape(values, marks, *, rows, columns, **options):
        del marks, options
        return values[0], side(rows), side(columns), values[-1]

    return linear_map.primitive(
        f"pool_{name}",
        function,
        shape,
        transpose,
        options=("rows", "columns", "combine", "places"),
        tangents=(None,),
    )


at_marks = _linear(
    "at_marks",
    _at_marks_of_windows,
    lambda axis: axis.count,
    lambda g, marks, **options: put_back(g, marks, combine=jax.lax.add, **options),
)
put_back = _linear(
    "put_back",
    _put_back_to_pixels,
    lambda axis: axis.size,
    lambda g, marks, combine, **options: at_marks(g, marks, **options),
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
    padding = ((0, 0, 0), (*rows.reach(), 0), (*columns.reach(), 0), (0, 0, 0))
    return jax.lax.pad(image, jnp.asarray(value, image.dtype), padding)


def _places(rows, columns, width):
    """Flat indices of pixels: [1, H, W, 1] int32."""
    return jnp.asarray(rows[:, None] * width + columns, jnp.int32)[None, :, :, None]
