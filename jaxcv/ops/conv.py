"""Convolution and its adjoint in torch's geometry, and linear maps, which are those without space.

Unlike other ops these take a batch. The number of spatial axes of a convolution (1, 2 or 3) is the
kernel's; the docstrings say [B, H, W, C], the two-dimensional case.
"""

import math

import jax
import jax.numpy as jnp

from jaxcv.ops import conv_plain, conv_primitives, fusion, sliding
from jaxcv.ops.program import one_program


def conv(image, kernel, *, strides=1, padding=0, dilation=1, groups=1):
    """Correlation with a kernel: [B, H, W, C] and [h, w, C / groups, D] -> [B, H', W', D].

    H' = (H + top + bottom - dilation (h - 1) - 1) // strides + 1, W' likewise.

    Args:
        image: [B, H, W, C] float.
        kernel: [h, w, C / groups, D], of the image's dtype.
        strides, dilation: an int, or one for each axis.
        padding: zeros around the image: an int for all sides; for each axis an int or a pair
            (low, high), low being the top or the left; "VALID", none; "SAME", which keeps the size,
            needs strides of 1, and where the padding is odd puts the extra zero high.
        groups: channels are cut into this many runs; run i of the output sees run i of the input.

    Raises:
        ValueError: shapes, dtypes or options that do not fit each other.

    Source: torch.nn.functional.conv1d, conv2d, conv3d, whose weights are the kernel's transpose
        (2, 3, 1, 0) to OIHW.
    """
    _check_arrays(image, kernel)
    in_channels, out_channels = kernel.shape[-2] * groups, kernel.shape[-1]
    if groups < 1 or image.shape[-1] != in_channels or out_channels % groups:
        raise ValueError(
            f"image has {image.shape[-1]} channels; a kernel {list(kernel.shape)} with"
            f" groups={groups} needs {in_channels}, and an output divisible by the groups."
        )
    strides, dilation, extents = _options(kernel, strides, dilation)
    padding = sliding.padding_pairs(padding, extents=extents, strides=strides)
    sliding.window_counts(image.shape[1:-1], extents=extents, strides=strides, padding=padding)
    geometry = _geometry(image.shape[1:-1], kernel, strides, padding, dilation, groups)
    return conv_primitives.forward(image, kernel, geometry)


def conv_transpose(image, kernel, *, strides=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Transposed convolution: [B, H, W, C] and [h, w, C, D / groups] -> [B, H', W', D].

    Pixel (y, x) of the image adds its channels times kernel[i, j] to the output's pixel
    (strides y + dilation i - top, strides x + dilation j - left). So this is the adjoint of `conv`
    of the same options, whose kernel has the last two axes swapped, and
    H' = strides (H - 1) + dilation (h - 1) + 1 + output_padding - top - bottom, W' likewise.

    Args:
        image: [B, H, W, C] float.
        kernel: [h, w, C, D / groups], of the image's dtype, not flipped.
        strides, dilation: an int, or one for each axis.
        padding: pixels cut off the output, which is what `conv`'s padding becomes: an int for all
            sides, or for each axis an int or a pair (low, high).
        output_padding: pixels added to the output at the bottom and right, to tell apart the sizes
            that one strided convolution maps to the same; below the larger of stride and dilation.
        groups: channels are cut into this many runs; run i of the output sees run i of the input.

    Raises:
        ValueError: shapes, dtypes or options that do not fit each other.

    Source: torch.nn.functional.conv_transpose1d, 2d and 3d, whose weights are
        [C, D / groups, h, w]: transpose by (2, 3, 0, 1) to get the kernel.
    """
    rank = _check_arrays(image, kernel)
    channels = image.shape[-1]
    if groups < 1 or channels != kernel.shape[-2] or channels % groups:
        raise ValueError(
            f"image has {channels} channels; a kernel {list(kernel.shape)} needs"
            f" {kernel.shape[-2]}, divisible by groups={groups}."
        )
    strides, dilation, extents = _options(kernel, strides, dilation)
    if isinstance(padding, str):
        raise ValueError(f"padding of a transposed convolution must be numbers, got {padding!r}.")
    padding = sliding.padding_pairs(padding, extents=extents, strides=strides)
    extra = sliding.per_axis(output_padding, rank, "output_padding")
    sliding.at_least(extra, 0, "output_padding")
    for amount, limit in zip(extra, map(max, strides, dilation)):
        if amount >= limit:
            raise ValueError(
                f"output_padding must be below the larger of stride and dilation ({limit}), got"
                f" {output_padding!r}."
            )
    size = tuple(
        stride * (pixels - 1) + extent + more - low - high
        for stride, pixels, extent, more, (low, high) in zip(
            strides, image.shape[1:], extents, extra, padding
        )
    )
    if min(size) < 1:
        raise ValueError(
            f"padding {padding} cuts off all that {list(image.shape[1:-1])} pixels give. Use less."
        )
    # The convolution that this is the transpose of sees none of the output padding.
    padding = tuple((low, high - more) for more, (low, high) in zip(extra, padding))
    geometry = _geometry(size, kernel, strides, padding, dilation, groups)
    return conv_primitives.image_gradient(image, jnp.swapaxes(kernel, -1, -2), geometry)


@one_program()
def linear(inputs, kernel):
    """Linear map of the last axis, a convolution without spatial axes: [..., C] -> [..., D].

    Args:
        inputs: [..., C] float.
        kernel: [C, D], of the inputs' dtype.

    Raises:
        ValueError: shapes or dtypes that do not fit each other.

    Source: torch.nn.functional.linear, whose weights are the kernel's transpose. A plain product
        has the same values; on a CPU its gradient by the kernel takes up to twice as long.
    """
    sliding.check_floating(inputs=inputs, kernel=kernel)
    if kernel.ndim != 2 or not inputs.ndim or inputs.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"kernel must be [C, D] and inputs [..., C], got {list(kernel.shape)} and"
            f" {list(inputs.shape)}."
        )
    if fusion.is_sharded(inputs) or fusion.is_sharded(kernel):
        return inputs @ kernel
    rows = inputs.reshape(math.prod(inputs.shape[:-1]), kernel.shape[0])
    outputs = conv_primitives.forward(rows, kernel, _geometry((), kernel, (), (), (), 1))
    return outputs.reshape(*inputs.shape[:-1], kernel.shape[1])


def _geometry(size, kernel, strides, padding, dilation, groups):
    return conv_plain.Geometry(
        size,
        kernel.shape[:-2],
        strides,
        padding,
        dilation,
        groups,
        jax.config.jax_default_matmul_precision,
    )


def _options(kernel, strides, dilation):
    """Strides, dilation and the dilated kernel's size, one int for each axis."""
    rank = kernel.ndim - 2
    strides = sliding.at_least(sliding.per_axis(strides, rank, "strides"), 1, "strides")
    dilation = sliding.at_least(sliding.per_axis(dilation, rank, "dilation"), 1, "dilation")
    extents = tuple(d * (size - 1) + 1 for size, d in zip(kernel.shape, dilation))
    return strides, dilation, extents


def _check_arrays(image, kernel):
    """The number of spatial axes."""
    rank = kernel.ndim - 2
    if rank not in conv_plain.RANKS:
        raise ValueError(
            f"kernel must be [h, w, in, out] (or one spatial axis less or more), got"
            f" {list(kernel.shape)}."
        )
    if image.ndim != kernel.ndim:
        raise ValueError(
            f"image must be a batch with {rank} spatial axes and channels last, as the kernel"
            f" {list(kernel.shape)} says, got {list(image.shape)}. For one image: image[None]."
        )
    sliding.check_floating(image=image, kernel=kernel)
    return rank
