"""Resizing in torch's geometry, and the kernels with which a transposed convolution does it."""

import dataclasses
import difflib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

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
        computed in float64 here.
    Cost: the taps of each axis in turn; of the gradient too, which is a resizing by the transpose.
    """
    axes = _axes(image, size, scale, mode, align_corners, antialias)
    if mode.startswith("nearest"):
        rows, columns = (axis.matrix.argmax(axis=1) for axis in axes)
        return image[rows][:, columns]
    resized = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    # The axis that shrinks most comes first: the less is left for the other. Of equals x, whose
    # pass reads shorter runs of memory.
    for place in sorted((1, 0), key=lambda place: axes[place].result / axes[place].size):
        if not axes[place].is_identity:
            resized = _along(resized, place, axes[place])
    return resized.astype(image.dtype)


def bilinear_kernel(factor, channels, *, dtype=jnp.float32):
    """Kernel of a transposed convolution that enlarges by a factor: -> [k, k, channels, channels].

    k = 2 factor - factor % 2; for `ops.conv_transpose` with strides=factor and
    padding=(k - factor) // 2. Unlike `resize`, what is outside counts as 0: borders get darker.

    Source: Long, Shelhamer, Darrell 2015, "Fully convolutional networks", section 3.3, and Caffe's
        filler. Channels do not mix.
    """
    if factor < 1:
        raise ValueError(f"factor must be at least 1, got {factor}.")
    size = 2 * factor - factor % 2
    line = 1 - np.abs(np.arange(size) - (size - 1) / 2) / factor
    return jnp.asarray(np.multiply.outer(np.outer(line, line), np.eye(channels)), dtype)


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One axis of a resizing, which is a matrix [result, size]."""

    size: int
    result: int
    step: float  # pixels of the image from one of the result to the next
    mode: str
    align_corners: bool
    antialias: bool
    transposed: bool = False

    @property
    def matrix(self):
        return _matrix(dataclasses.replace(self, transposed=False))

    @property
    def is_identity(self):
        return self.size == self.result and np.array_equal(self.matrix, np.eye(self.size))


def _along(array, place, axis):
    """Resizes axis `place` of [..., H, W, C], 0 or 1 of the last three.

    A linear map, as a primitive: its transpose is another resizing, not a scatter of each tap.
    """
    return _along_p.bind(array, place=place, axis=axis)


def _along_lowered(array, *, place, axis):
    function = functools.partial(_resized, place=place, axis=axis)
    for _ in array.shape[:-3]:
        function = jax.vmap(function)
    return function(array)


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


def _along_shape(array, *, place, axis):
    shape = list(array.shape)
    shape[place - 3] = axis.size if axis.transposed else axis.result
    return array.update(shape=tuple(shape), weak_type=False)


def _along_transpose(cotangent, _, *, place, axis):
    transpose = dataclasses.replace(axis, transposed=not axis.transposed)
    return [_along(cotangent, place, transpose)]


def _along_batched(arrays, axes, **options):
    return _along_p.bind(jnp.moveaxis(arrays[0], axes[0], 0), **options), 0


_along_p = Primitive("resize_along")
_along_p.def_impl(jax.jit(_along_p.bind, static_argnames=("place", "axis")))
_along_p.def_abstract_eval(_along_shape)
mlir.register_lowering(_along_p, mlir.lower_fun(_along_lowered, multiple_results=False))
batching.primitive_batchers[_along_p] = _along_batched
ad.deflinear2(_along_p, _along_transpose)


@functools.lru_cache(maxsize=256)
def _taps(axis):
    """Indices and weights, each [taps, result]; (None, matrix) if there are too many."""
    matrix = axis.matrix.T if axis.transposed else axis.matrix
    taps = (matrix != 0).sum(axis=1).max()
    if taps > _MOST_TAPS:
        return None, matrix
    # The entries that are not 0, in their order; shorter rows get some of weight 0.
    indices = np.argsort(matrix == 0, axis=1, kind="stable")[:, :taps]
    return indices.T.astype(np.int32), np.take_along_axis(matrix, indices, axis=1).T


@functools.lru_cache(maxsize=256)
def _matrix(axis):
    """[result, size] float64."""
    output = np.arange(axis.result)
    matrix = np.zeros((axis.result, axis.size))
    if axis.mode == "area":
        for cell in output:
            low, high = cell * axis.size // axis.result, -(-(cell + 1) * axis.size // axis.result)
            matrix[cell, low:high] = 1 / (high - low)
        return matrix
    if axis.mode.startswith("nearest"):
        middle = 0.5 if axis.mode == "nearest-exact" else 0
        source = np.floor((output + middle) * axis.step)
        matrix[output, np.minimum(source, axis.size - 1).astype(int)] = 1
        return matrix
    if axis.antialias:
        return _widened(axis)
    place = output * axis.step if axis.align_corners else (output + 0.5) * axis.step - 0.5
    if axis.mode == "bilinear":
        place = np.maximum(place, 0)
        kernel, reach = _triangle, (0, 1)
    else:
        kernel, reach = functools.partial(_cubic, a=-0.75), (-1, 0, 1, 2)
    for offset in reach:
        tap = np.floor(place) + offset
        source = np.clip(tap, 0, axis.size - 1).astype(int)
        np.add.at(matrix, (output, source), kernel(place - tap))
    return matrix


def _widened(axis):
    """With a kernel as wide as an output pixel, cut off at the border and normalised."""
    cubic = axis.mode == "bicubic"
    kernel = functools.partial(_cubic, a=-0.5) if cubic else _triangle
    width = max(axis.step, 1)
    support = (2 if cubic else 1) * width
    centre = ((np.arange(axis.result) + 0.5) * axis.step)[:, None]
    source = np.arange(axis.size)
    first = np.maximum(np.trunc(centre - support + 0.5), 0)
    behind = np.minimum(np.trunc(centre + support + 0.5), axis.size)
    weights = kernel((source + 0.5 - centre) / width)
    weights = np.where((source >= first) & (source < behind), weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


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
    sizes = image.shape[:2]
    scales = (None, None) if scale is None else _pair(scale)
    results = _pair(size) if scale is None else [math.floor(n * s) for n, s in zip(sizes, scales)]
    if min(results) < 1:
        raise ValueError(f"the result must have pixels, got a size of {tuple(results)}.")
    axes = []
    for n, result, factor in zip(sizes, results, scales):
        if align_corners:
            step = (n - 1) / (result - 1) if result > 1 else 0
        else:
            step = n / result if factor is None else 1 / factor
        axes.append(_Axis(n, result, float(step), mode, align_corners, antialias))
    return axes


def _pair(value):
    return (value, value) if np.ndim(value) == 0 else tuple(value)
