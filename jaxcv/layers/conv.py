"""Convolution layers over `ops.conv` and `ops.conv_transpose`, in torch's geometry."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from jaxcv import ops

# Of variance 2 / fan-in, the fan-in being the kernel's area times the channels one output sees. He
# et al., "Delving deep into rectifiers", 2015. (torch's default has a sixth of that variance.)
_he_normal = nn.initializers.he_normal()


class Conv(nn.Module):
    """Convolution and bias: [B, H, W, C] -> [B, H', W', features].

    Geometry as of `ops.conv`, and so torch's: no padding unless asked for. Parameters: `kernel`
    [h, w, C / groups, features], He normal at the start; `bias` [features], zeros.
    """

    features: int
    kernel_size: int | Sequence[int]  # an int: height and width; else one for each spatial axis
    strides: int | Sequence[int] = 1
    padding: Any = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    use_bias: bool = True
    dtype: Any = None  # of the computation, by default the widest of image and parameters
    kernel_init: Callable = _he_normal
    bias_init: Callable = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, image):
        _check(self, image, kernel_groups=self.groups)
        channels = image.shape[-1] // self.groups
        shape = (*_kernel_size(self.kernel_size), channels, self.features)
        image, kernel, bias = _parameters(self, image, shape)
        output = ops.conv(
            image,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return output if bias is None else output + bias


class ConvTranspose(nn.Module):
    """Transposed convolution and bias: [B, H, W, C] -> [B, H', W', features].

    Geometry as of `ops.conv_transpose`, and so torch's. Parameters: `kernel` [h, w, C,
    features / groups], He normal at the start as if stride and groups were 1; `bias` [features],
    zeros.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Any = 0
    output_padding: int | Sequence[int] = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable = _he_normal
    bias_init: Callable = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, image):
        _check(self, image, kernel_groups=1)
        features = self.features // self.groups
        shape = (*_kernel_size(self.kernel_size), image.shape[-1], features)
        image, kernel, bias = _parameters(self, image, shape)
        output = ops.conv_transpose(
            image,
            kernel,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return output if bias is None else output + bias


def _check(layer, image, *, kernel_groups):
    """ValueError for other channels than those of a kernel that is there, and for odd groups.

    A kernel has the channels of one of `kernel_groups` groups.
    """
    if layer.has_variable("params", "kernel"):
        kernel = nn.unbox(layer.get_variable("params", "kernel"))
        expected = kernel.shape[-2] * kernel_groups
        if image.shape[-1] != expected:
            raise ValueError(
                f"image has {image.shape[-1]} channels, {'/'.join(layer.path) or 'the layer'} takes"
                f" {expected}: images are [B, H, W, C], got {list(image.shape)}."
            )
    if layer.groups < 1 or image.shape[-1] % layer.groups or layer.features % layer.groups:
        raise ValueError(
            f"groups must divide the image's {image.shape[-1]} channels and the layer's"
            f" {layer.features} features, got {layer.groups}."
        )


def _kernel_size(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def _parameters(layer, image, shape):
    """Image, kernel and bias (None without one) in the dtype of the computation."""
    kernel = layer.param("kernel", layer.kernel_init, shape)
    bias = layer.param("bias", layer.bias_init, (layer.features,)) if layer.use_bias else None
    return nn.dtypes.promote_dtype(image, kernel, bias, dtype=layer.dtype)
