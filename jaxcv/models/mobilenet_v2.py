"""MobileNetV2. Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: inverted residuals and linear
bottlenecks", CVPR 2018.

Blocks widen their input by a factor t with a 1x1 convolution, filter each channel with a depthwise
3x3 one, and narrow again by a 1x1 convolution without activation; the narrow ends are added. With
1000 classes: mobilenet_v2 3,504,872 parameters.

Reads torchvision's checkpoint: features.0.0, features.1.conv.0.0, ..., features.18, classifier.1.
Differs from the paper: nothing known.
Convolutions start normal with variance 2 / fan-out, the linear layer normal with deviation 0.01, as
torchvision's.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxcv import layers
from jaxcv.models import atrous

# t, c, n, s of table 2: expansion, channels, blocks, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages: features.0 to features.18, the output of each block.
    """

    blocks: tuple = _STAGES
    width_multiplier: float = 1.0  # of all channels, rounded to multiples of 8; 1280 at least last
    num_classes: int = 1000
    dropout: float = 0.2  # before the linear layer
    output_stride: int = 32  # of the last map; 16 or 8: strides beyond become dilations
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(
            layers.ConvNorm,
            activation=nn.relu6,
            use_running_average=self.frozen_norm or not train,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        )
        block = nn.remat(Block) if self.remat else Block
        stem = layers.round_channels(32 * self.width_multiplier)
        x = conv(stem, strides=2, name="features.0")(image)
        stages, total = {"features.0": x}, 2
        for expansion, channels, count, strides in self.blocks:
            channels = layers.round_channels(channels * self.width_multiplier)
            for i in range(count):
                name = f"features.{len(stages)}"
                published = strides if i == 0 else 1
                left, dilation = atrous.strides_and_dilation(
                    published, before=total, output_stride=self.output_stride
                )
                total *= published
                x = stages[name] = block(
                    channels,
                    expansion,
                    strides=left,
                    dilation=dilation,
                    shortcut=published == 1,
                    conv=conv,
                    name=name,
                )(x)
        last = layers.round_channels(1280 * max(1.0, self.width_multiplier))
        name = f"features.{len(stages)}"
        x = stages[name] = conv(last, 1, name=name)(x)
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        head = layers.Dense(
            self.num_classes, kernel_init=nn.initializers.normal(0.01), name="classifier.1"
        )
        return {"logits": head(x), "stages": stages}


class Block(nn.Module):
    """Inverted residual: [B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), features].

    `conv` makes a convolution with norm and ReLU6. The depthwise and the last 1x1 convolution are a
    depthwise separable one. Table 1 of the paper.
    """

    features: int
    expansion: int  # t
    strides: int
    dilation: int  # of the depthwise convolution
    shortcut: bool  # add the input where it has as many channels
    conv: Callable

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1] * self.expansion
        y, index = x, 0
        if self.expansion != 1:
            y, index = self.conv(channels, 1, name="conv.0")(y), 1
        filtered = self.conv(
            channels,
            strides=self.strides,
            dilation=self.dilation,
            groups=channels,
            name=f"conv.{index}",
        )
        y = filtered(y)
        project = layers.Conv(
            self.features,
            1,
            use_bias=False,
            dtype=filtered.dtype,
            kernel_init=filtered.kernel_init,
            name=f"conv.{index + 1}",
        )
        norm = layers.BatchNorm(
            use_running_average=filtered.use_running_average,
            dtype=filtered.dtype,
            name=f"conv.{index + 2}",
        )
        y = norm(project(y))
        return layers.residual(x, y) if self.shortcut and x.shape == y.shape else y


VARIANTS = {"mobilenet_v2": functools.partial(MobileNetV2)}


def _strides():
    strides, total = {"features.0": 2}, 2
    for _, _, count, first in _STAGES:
        total *= first
        strides |= {f"features.{len(strides) + i}": total for i in range(count)}
    return strides | {"features.18": total}


# Pixels of the image from one of the map to the next; at most `output_stride`.
STRIDES = {name: _strides() for name in VARIANTS}
