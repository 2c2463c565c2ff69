"""Xception. Chollet, "Xception: deep learning with depthwise separable convolutions", CVPR 2017
(arXiv 2016), figure 5.

An Inception module with a branch for each channel: every 3x3 convolution is depthwise (a kernel for
each channel alone) and followed by a 1x1 that mixes the channels. On C channels that takes
1 / C + 1 / 9 of an ordinary convolution's multiplications. Twelve blocks with shortcuts.

`legacy_xception`, timm's name, has 22,855,952 parameters. Reads timm's checkpoints (conv1, bn1,
..., block1.skip, block1.rep.0.conv1, block1.rep.0.pointwise, ..., conv4.pointwise, bn4, fc), whose
images are scaled to -1..1. Differs from the paper as these do: padding is
symmetric, not more at the right and below. Convolutions start as He 2015 with fan-out, the linear
layer uniform in +-1 / sqrt(fan_in), as timm's.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxcv import layers, ops
from jaxcv.models import atrous
from jaxcv.models.basic_conv import torch_uniform

_he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")

# Of each block the channels of its separable convolutions and its stride.
_BLOCKS = (
    ((128, 128), 2),
    ((256, 256), 2),
    ((728, 728), 2),
    *[((728, 728, 728), 1)] * 8,
    ((728, 1024), 2),
)


class Xception(nn.Module):
    """[B, H, W, 3] (299x299, at least 35) -> logits [B, num_classes], float32; stages as STRIDES.

    A block's stage is its sum, before the ReLU that opens the next.
    """

    blocks: tuple = _BLOCKS
    widths: tuple = (32, 64, 1536, 2048)  # of conv1 to conv4
    num_classes: int = 1000
    dropout: float = 0.0  # before the linear layer; the paper: 0.5
    output_stride: int = 32  # of the last map; 16 or 8: strides beyond become dilations
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        norm = functools.partial(layers.BatchNorm, self.frozen_norm or not train, dtype=self.dtype)
        conv = functools.partial(
            layers.Conv, use_bias=False, kernel_init=_he_fan_out, dtype=self.dtype
        )
        block = nn.remat(Block) if self.remat else Block
        first, second, third, fourth = self.widths

        stages = {}
        x = nn.relu(norm(name="bn1")(conv(first, 3, strides=2, name="conv1")(image)))
        stages["act1"] = x
        x = stages["act2"] = nn.relu(norm(name="bn2")(conv(second, 3, name="conv2")(x)))
        total = 2
        for i, (features, strides) in enumerate(self.blocks, start=1):
            name = f"block{i}"
            left, dilation = atrous.strides_and_dilation(
                strides, before=total, output_stride=self.output_stride
            )
            total *= strides
            x = stages[name] = block(
                features, left, dilation, strides > 1, i > 1, norm, conv, name=name
            )(x)
        _, dilation = atrous.strides_and_dilation(1, before=total, output_stride=self.output_stride)
        x = nn.relu(norm(name="bn3")(SeparableConv(third, conv, dilation, name="conv3")(x)))
        stages["act3"] = x
        x = nn.relu(norm(name="bn4")(SeparableConv(fourth, conv, dilation, name="conv4")(x)))
        stages["act4"] = x
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))  # [B, 2048]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=torch_uniform, name="fc")(x)
        return {"logits": logits, "stages": stages}


class Block(nn.Module):
    """Separable convolutions beside a shortcut: [B, H, W, C] -> [B, H', W', features[-1]].

    H' is ceil(H / strides). Where `reduces`, the convolutions are pooled with these strides, and
    the shortcut is a 1x1 convolution with them.
    """

    features: tuple
    strides: int
    dilation: int  # of the convolutions and the pool
    reduces: bool
    start_with_relu: bool
    norm: Callable
    conv: Callable

    @nn.compact
    def __call__(self, x):
        skip = x
        if self.reduces:
            skip = self.conv(self.features[-1], 1, strides=self.strides, name="skip")(x)
            skip = self.norm(name="skipbn")(skip)
        y = x
        place = 0  # in timm's list of ReLU, convolution, norm, ReLU, ...
        for i, features in enumerate(self.features):
            if i > 0 or self.start_with_relu:
                y = nn.relu(y)
                place += 1
            y = SeparableConv(features, self.conv, self.dilation, name=f"rep.{place}")(y)
            y = self.norm(name=f"rep.{place + 1}")(y)
            place += 2
        if self.reduces:
            y = ops.max_pool(
                y, window=3, strides=self.strides, padding=self.dilation, dilation=self.dilation
            )
        return y + skip


class SeparableConv(nn.Module):
    """3x3 on each channel alone (depthwise), then 1x1 (pointwise), neither norm nor ReLU between.

    [B, H, W, C] -> [B, H, W, features].
    """

    features: int
    conv: Callable
    dilation: int = 1  # of the 3x3

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        options = {"padding": self.dilation, "dilation": self.dilation, "groups": channels}
        x = self.conv(channels, 3, **options, name="conv1")(x)
        return self.conv(self.features, 1, name="pointwise")(x)


VARIANTS = {"legacy_xception": functools.partial(Xception)}

# Pixels of the image from one of a stage's to the next; at most `output_stride`.
STRIDES = {
    "legacy_xception": {
        **dict.fromkeys(("act1", "act2"), 2),
        "block1": 4,
        "block2": 8,
        **{f"block{i}": 16 for i in range(3, 12)},
        **dict.fromkeys(("block12", "act3", "act4"), 32),
    }
}

STATE_DICT = {"image": (299, 299, 3)}
