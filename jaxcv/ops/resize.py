"""Resizing in torch's geometry, and the kernels with which a transposed convolution does it."""

import dataclasses
import difflib
import functools
import math
import numbers

import jax.numpy as jnp
import numpy as np

from jaxcv.ops import linear_map, sliding
from jaxcv.ops.program import one_program

_MODES = ("nearest", "nearest-exact", "area", "bilinear", "bicubic")
_MOST_TAPS = 24  # pixels that one sum reads; above, a matrix product is faster


@one_program("size", "scale", "mode", "align_corners", "antialias")
def resize(image, size=None, *, scale=None, mode="bilinear", align_corners=False, antialias=False):
    """Image in another size: [H, W, C] -> [H', W', C].

    Args:
        image: [H, W, C] float; of any dtype for the two nearest modes.
        size: an int for both or (H', W').
        scale: instead of a size, a number for both axes or one each: H' = floor(H * scale), and
            output pixels lie 1 / scale apart. (By size, and with `align_corners`, the two borders
            meet: H / H' apart.)
        mode: "nearest" (the pixel at floor(y H / H'), as Caffe and old torch), "nearest-exact" (at
            the output pixel's centre), "area" (the mean of the pixels that an output pixel
            touches), "bilinear" or "bicubic" (a = -0.75; -0.5 when antialiased).
        align_corners: the centres of the border pixels meet, not their outer edges; bilinear and
            bicubic only.
        antialias: widen the kernel when shrinking, as Pillow does; bilinear and bicubic only.

    Returns:
        [H', W', C] in the image's dtype, computed in float32 at least (nearest: copied).

    Raises:
        ValueError: an image of another form, or options that do not fit each other.

    Source: torch.nn.functional.interpolate with recompute_scale_factor=False. Its positions are
        computed in float64 here, those of the nearest modes by size in whole numbers.
    Cost: the taps of each axis in turn; of the gradient too, which is a resizing by the transpose.
    """
    image = jnp.asarray(image)
    axes = _axes(image, size, scale, mode, align_corners, antialias)
    if mode.startswith("nearest"):
        rows, columns = map(_nearest, axes)
        return image[rows][:, columns]
    resized = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    # The axis that shrinks most comes first: the less is left for the other. Of equals x, whose
    # pass reads shorter runs of memory.
    for place in sorted((1, 0), key=lambda place: axes[place].result / axes[place].size):
        if not axes[place].is_identity:
            resized = _along(resized, place=place, axis=axes[place])
    return resized.astype(image.dtype)


def bilinear_kernel(factor, channels, *, dtype=jnp.float32):
    """Kernel of a transposed convolution that enlarges by a factor: -> [k, k, channels, channels].

    k = 2 factor - factor % 2; for `ops.conv_transpose` with strides=factor and
    padding=(k - factor) // 2. Unlike `resize`, what is outside counts as 0: borders get darker.

    Source: Long, Shelhamer, Darrell 2015, "Fully convolutional networks", section 3.3, and Caffe's
        filler. Channels do not mix.
    """
    if not isinstance(factor, numbers.Integral) or factor < 1:
        raise ValueError(f"factor must be an int of at least 1, got {factor!r}.")
    size = 2 * factor - factor % 2
    line = 1 - np.abs(np.arange(size) - (size - 1) / 2) / factor
    return jnp.asarray(np.multiply.outer(np.outer(line, line), np.eye(channels)), dtype)


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One axis of a resizing, which is a matrix [result, size]."""

    size: int
    result: int
    step: float | None  # pixels of the image from one of the result to the next; None: exactly
    #   size / result
    mode: str
    align_corners: bool
    antialias: bool
    transposed: bool = False

    @property
    def is_identity(self):
        output, source, weight = _entries(self)
        same = len(output) == self.size == self.result
        return same and (output == source).all() and (weight == 1).all()


def _resized(array, place, axis):
    """Of [H, W, C]."""
    indices, weights = _taps(axis)
    if indices is None:
        matrix = jnp.asarray(weights, array.dtype)
        subscripts = "oh,hwc->owc" if place == 0 else "ow,hwc->hoc"
        return jnp.einsum(subscripts, matrix, array, precision="highest")
    total = 0
    for index, weight in zip(indices, weights):
        weight = jnp.asarray(weight, array.dtype).reshape((-1, 1, 1) if place == 0 else (1, -1, 1))
        total = total + jnp.take(array, index, axis=place) * weight
    return total


def _resized_shape(shape, *, place, axis):
    side = axis.size if axis.transposed else axis.result
    return *shape[:place], side, *shape[place + 1 :]


def _resized_transpose(cotangent, *, place, axis):
    transpose = dataclasses.replace(axis, transposed=not axis.transposed)
    return _along(cotangent, place=place, axis=transpose)


# Resizes axis `place` of [H, W, C], 0 or 1. Its transpose is another resizing.
_along = linear_map.primitive(
    "resize_along", _resized, _resized_shape, _resized_transpose, options=("place", "axis")
)


@functools.lru_cache(maxsize=64)
def _taps(axis):
    """Indices and weights, each [taps, result]; (None, matrix) if there are too many."""
    row, column, weight = _entries(axis)
    rows, columns = axis.result, axis.size
    if axis.transposed:
        order = np.argsort(column, kind="stable")
        row, column, weight = column[order], row[order], weight[order]
        rows, columns = columns, rows
    counts = np.bincount(row, minlength=rows)
    if counts.max() > _MOST_TAPS:
        matrix = np.zeros((rows, columns))
        matrix[row, column] = weight
        return None, matrix
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    indices = np.zeros((counts.max(), rows), np.int32)
    weights = np.zeros(indices.shape)
    # Rows with fewer read their first again, of weight 0: another's nan would not stay there.
    indices[:, row[number == 0]] = column[number == 0]
    indices[number, row], weights[number, row] = column, weight
    return indices, weights


def _nearest(axis):
    """The pixel that each of the result copies: [result] int."""
    output, exact = np.arange(axis.result), axis.mode == "nearest-exact"
    if axis.step is None:  # in whole numbers: a step that is rounded falls short of pixels
        source = output * axis.size // axis.result
        if exact:
            source = (2 * output + 1) * axis.size // (2 * axis.result)
    else:
        source = np.floor((output + 0.5 * exact) * axis.step).astype(int)
    return np.minimum(source, axis.size - 1)


def _entries(axis):
    """The matrix's entries that are not 0, in order: their rows, columns and float64 weights."""
    source, weight = _sources(axis)
    output = np.broadcast_to(np.arange(axis.result)[:, None], source.shape)
    read = weight != 0
    # At a border several taps may read one pixel.
    keys, place = np.unique(output[read] * axis.size + source[read], return_inverse=True)
    total = np.bincount(place, weights=weight[read], minlength=len(keys))
    keys, total = keys[total != 0], total[total != 0]
    return keys // axis.size, keys % axis.size, total


def _sources(axis):
    """Pixels that each of the result reads, and with what weight: [result, taps] twice."""
    output = np.arange(axis.result)[:, None]
    if axis.mode == "area":
        low, high = output * axis.size // axis.result, -(-(output + 1) * axis.size // axis.result)
        source = low + np.arange((high - low).max())
        return source, (source < high) / (high - low)
    if axis.antialias:
        return _widened(axis, output)
    place = output * axis.step if axis.align_corners else (output + 0.5) * axis.step - 0.5
    if axis.mode == "bilinear":
        place = np.maximum(place, 0)
        kernel, reach = _triangle, np.arange(2)
    else:
        kernel, reach = functools.partial(_cubic, a=-0.75), np.arange(-1, 3)
    tap = np.floor(place) + reach
    return np.clip(tap, 0, axis.size - 1).astype(int), kernel(place - tap)


def _widened(axis, output):
    """With a kernel as wide as an output pixel, cut off at the border and normalised."""
    cubic = axis.mode == "bicubic"
    kernel = functools.partial(_cubic, a=-0.5) if cubic else _triangle
    width = max(axis.step, 1)
    support = (2 if cubic else 1) * width
    centre = (output + 0.5) * axis.step
    first = np.maximum(np.trunc(centre - support + 0.5), 0).astype(int)
    behind = np.minimum(np.trunc(centre + support + 0.5), axis.size).astype(int)
    source = first + np.arange((behind - first).max())
    weights = np.where(source < behind, kernel((source + 0.5 - centre) / width), 0)
    return source, weights / weights.sum(axis=1, keepdims=True)


def _triangle(distance):
    return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance, a):
    """Keys 1981, "Cubic convolution interpolation"."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _axes(image, size, scale, mode, align_corners, antialias):
    """Rows and columns, checked."""
    if mode not in _MODES:
        near = difflib.get_close_matches(str(mode), _MODES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"mode must be one of {list(_MODES)}, got {mode!r}.{hint}")
    if image.ndim != 3 or min(image.shape[:2]) < 1:
        raise ValueError(
            f"image must be [H, W, C] with pixels, got {list(image.shape)}. For a batch, jax.vmap"
            " the function."
        )
    if not mode.startswith("nearest") and not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(f"image must be floating for mode {mode!r}, got {image.dtype}.")
    if (align_corners or antialias) and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"align_corners and antialias are not for mode {mode!r}.")
    if align_corners and antialias:
        raise ValueError("align_corners and antialias exclude each other.")
    if (size is None) == (scale is None):
        raise ValueError(f"give one of size and scale, got size={size} and scale={scale}.")
    sizes, scales = image.shape[:2], (None, None)
    if scale is None:
        results = sliding.per_axis(size, 2, "size")
    else:
        scales = _scales(scale)
        results = [math.floor(n * s) for n, s in zip(sizes, scales)]
    if min(results) < 1:
        raise ValueError(f"the result must have pixels, got a size of {tuple(results)}.")
    axes = []
    for n, result, factor in zip(sizes, results, scales):
        if align_corners:
            step = (n - 1) / (result - 1) if result > 1 else 0.0
        elif mode.startswith("nearest") and (
            factor is None or (mode == "nearest" and result in (n, 2 * n))  # torch's exceptions
        ):
            step = None
        else:
            step = n / result if factor is None else 1 / factor
        axes.append(_Axis(n, result, step, mode, align_corners, antialias))
    return axes


def _scales(scale):
    scales = (scale, scale) if np.ndim(scale) == 0 else tuple(scale)
    if len(scales) != 2 or not all(0 < factor < math.inf for factor in scales):
        raise ValueError(f"scale must be a number above 0 or a pair, got {scale!r}.")
    return tuple(map(float, scales))
