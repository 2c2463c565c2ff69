"""MobileNet. Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
applications", 2017 (arXiv).

A convolution of stride 2, then 13 depthwise separable ones: a depthwise 3x3 convolution, which
filters each channel by itself, and a 1x1 (pointwise) convolution, which mixes them; 28 layers with
the linear one. On 14x14x512 a full 3x3 convolution multiplies 462,422,016 times, this pair
52,283,392 times. Parameters with 1000 classes:

    mobilenetv1_100 4,231,976   mobilenetv1_125 6,270,840

Reads timm's checkpoints of these names: conv_stem, bn1, blocks.0.0.conv_dw, blocks.0.0.bn1,
blocks.0.0.conv_pw, blocks.0.0.bn2, ..., classifier.
Differs from the paper: ReLU6 for ReLU, as in the authors' own code (so do its padding, which puts
the odd pixel right and below, and epsilon 1e-3 of BatchNorm; here both are torch's).
Convolutions start normal with variance 2 / fan-out, the fan-out of a depthwise one being that of
one group; the linear layer uniform within +-fan-out^-1/2; as timm's.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jaxcv import layers, ops
from jaxcv.models import atrous

# Channels, stride of the first block, blocks: table 1.
_STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2))

_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# In a depthwise 3x3 convolution a pixel reaches nine values, not nine for each channel.
_depthwise_normal = nn.initializers.normal((2 / 9) ** 0.5)
_uniform = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")


class MobileNetV1(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages: bn1 (the stem) and blocks.0 to blocks.4.
    """

    width_multiplier: float = 1.0  # alpha: of all channels, rounded to multiples of 8
    resolution_multiplier: float = 1.0  # rho: the image is resized to this part of its sides
    blocks: tuple = _STAGES
    num_classes: int = 1000
    dropout: float = 0.0  # before the linear layer
    output_stride: int = 32  # of the last map; 16 or 8: strides beyond become dilations
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(layers.Conv, use_bias=False, kernel_init=_normal, dtype=self.dtype)
        norm = functools.partial(
            layers.BatchNorm,
            use_running_average=self.frozen_norm or not train,
            dtype=self.dtype,
        )
        block = nn.remat(SeparableBlock) if self.remat else SeparableBlock

        image = _shrink(image, self.resolution_multiplier)
        x = conv(
            layers.round_channels(32 * self.width_multiplier),
            kernel_size=3,
            strides=2,
            padding=1,
            name="conv_stem",
        )(image)
        x = nn.relu6(norm(name="bn1")(x))
        stages, total = {"bn1": x}, 2
        for stage, (channels, strides, count) in enumerate(self.blocks):
            channels = layers.round_channels(channels * self.width_multiplier)
            for i in range(count):
                published = strides if i == 0 else 1
                left, dilation = atrous.strides_and_dilation(
                    published, before=total, output_stride=self.output_stride
                )
                total *= published
                x = block(
                    channels,
                    strides=left,
                    dilation=dilation,
                    conv=conv,
                    norm=norm,
                    name=f"blocks.{stage}.{i}",
                )(x)
            stages[f"blocks.{stage}"] = x
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        head = layers.Dense(self.num_classes, kernel_init=_uniform, name="classifier")
        return {"logits": head(x), "stages": stages}


class SeparableBlock(nn.Module):
    """Depthwise separable convolution: [B, H, W, C] -> [B, ceil(H / strides), ..., features].

    Both convolutions are followed by BatchNorm and ReLU6; `conv` and `norm` make them. Figure 3.
    """

    features: int
    strides: int
    conv: Callable
    norm: Callable
    dilation: int = 1  # of the depthwise convolution

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        depthwise = self.conv(
            channels,
            kernel_size=3,
            strides=self.strides,
            padding=self.dilation,
            dilation=self.dilation,
            groups=channels,
            kernel_init=_depthwise_normal,
            name="conv_dw",
        )
        x = nn.relu6(self.norm(name="bn1")(depthwise(x)))
        pointwise = self.conv(self.features, kernel_size=1, name="conv_pw")
        return nn.relu6(self.norm(name="bn2")(pointwise(x)))


def _shrink(image, factor):
    if factor == 1:
        return image
    size = tuple(max(1, round(side * factor)) for side in image.shape[1:3])
    return jax.vmap(functools.partial(ops.resize, size=size, antialias=True))(image)


VARIANTS = {
    "mobilenetv1_100": functools.partial(MobileNetV1),
    "mobilenetv1_125": functools.partial(MobileNetV1, width_multiplier=1.25),
}

# Pixels of the image from one of the map to the next, at resolution_multiplier 1; at most
# `output_stride`.
STRIDES = {
    name: {"bn1": 2, "blocks.0": 2, "blocks.1": 4, "blocks.2": 8, "blocks.3": 16, "blocks.4": 32}
    for name in VARIANTS
}
