"""Parts of mobile networks: rounded widths, convolution with norm, gate, inverted residual."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxcv.layers.conv import Conv
from jaxcv.layers.norm import BatchNorm
from jaxcv.layers.randomness import DropPath
from jaxcv.layers.residual import residual


def round_channels(channels, divisor=8):
    """The multiple of `divisor` nearest to a width, one more where 10 % would be lost: an int.

    Source: the reference code of Sandler et al., "MobileNetV2", 2018; `_make_divisible` everywhere.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm, activation: [B, H, W, C] -> [B, H', W', features].

    Padded by (kernel_size - 1) // 2 * dilation on all sides: H' = ceil(H / strides) for an odd
    kernel. Submodules `0` and `1`.

    Source: torchvision.ops.Conv2dNormActivation.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    dilation: int = 1
    groups: int = 1
    activation: Callable | None = nn.relu
    use_running_average: bool = True  # of BatchNorm, whose are the next two
    momentum: float = 0.1
    epsilon: float = 1e-5
    dtype: Any = None  # of the computation; parameters and statistics are float32
    kernel_init: Callable = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, x):
        x = Conv(
            self.features,
            kernel_size=self.kernel_size,
            strides=self.strides,
            padding=(self.kernel_size - 1) // 2 * self.dilation,
            dilation=self.dilation,
            groups=self.groups,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name="0",
        )(x)
        x = BatchNorm(
            use_running_average=self.use_running_average,
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            name="1",
        )(x)
        return x if self.activation is None else self.activation(x)


class SqueezeExcitation(nn.Module):
    """Each channel times a gate that sees the means of all: [B, H, W, C] -> [B, H, W, C].

    Submodules `fc1` (C -> squeezed) and `fc2` (back), 1x1 convolutions: on the one pixel of means
    the same as linear layers.

    Source: Hu, Shen, Sun, "Squeeze-and-excitation networks", CVPR 2018, section 3.
    """

    squeezed: int  # C / r in the paper
    activation: Callable = nn.relu
    gate: Callable = nn.sigmoid
    dtype: Any = None
    kernel_init: Callable = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, x):
        def conv(features, name):
            return Conv(features, 1, dtype=self.dtype, kernel_init=self.kernel_init, name=name)

        means = x.mean((1, 2), keepdims=True)  # [B, 1, 1, C]
        hidden = self.activation(conv(self.squeezed, "fc1")(means))
        return x * self.gate(conv(x.shape[-1], "fc2")(hidden))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, project: [B, H, W, C] -> [B, ceil(H / strides), ...].

    A 1x1 convolution to `expanded` channels (left out where there are as many already), a depthwise
    one, squeeze and excitation where `squeezed` is not 0, and a 1x1 convolution to `features`
    without activation. Depthwise and 1x1 together are a depthwise separable convolution. The
    input is added where shapes agree. Submodules `block.0`, `block.1`, ...

    Returns:
        The output, and the expanded input of the depthwise convolution [B, H, W, expanded].

    Source: Sandler 2018, figure 3; with gates Tan 2019, "MnasNet", and Howard 2019, "MobileNetV3".
    """

    features: int
    expanded: int
    conv: Callable  # makes a ConvNorm
    kernel_size: int = 3
    strides: int = 1
    dilation: int = 1  # more than 1: an atrous depthwise convolution in place of a strided one
    squeezed: int = 0
    gate: Callable = nn.sigmoid
    activation: Callable = nn.relu
    squeeze_activation: Callable = nn.relu
    drop_path: float = 0.0  # the probability of leaving an example's branch out
    deterministic: bool = True

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        names = iter(f"block.{i}" for i in range(4))
        y = x
        if self.expanded != channels:
            expand = self.conv(self.expanded, 1, activation=self.activation, name=next(names))
            y = expand(y)
        expanded = y
        filtered = self.conv(
            self.expanded,
            self.kernel_size,
            strides=1 if self.dilation > 1 else self.strides,
            dilation=self.dilation,
            groups=self.expanded,
            activation=self.activation,
            name=next(names),
        )
        y = filtered(y)
        if self.squeezed:
            y = SqueezeExcitation(
                self.squeezed,
                activation=self.squeeze_activation,
                gate=self.gate,
                dtype=filtered.dtype,
                kernel_init=filtered.kernel_init,
                name=next(names),
            )(y)
        y = self.conv(self.features, 1, activation=None, name=next(names))(y)
        if self.strides == 1 and channels == self.features:
            y = residual(x, DropPath(self.drop_path, deterministic=self.deterministic)(y))
        return y, expanded
