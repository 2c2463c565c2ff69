"""MnasNet-B1. Tan, Chen, Pang, Vasudevan, Sandler, Howard, Le, "MnasNet: platform-aware neural
architecture search for mobile", CVPR 2019 (arXiv 2018), without squeeze-and-excitation.

Found by a search for accuracy and measured latency on a phone. Its blocks are MobileNetV2's: a 1x1
convolution to more channels, a depthwise 3x3 or 5x5 (a kernel for each channel alone), a 1x1 back
to few without an activation. Parameters:

    mnasnet0_5 2,218,512   mnasnet0_75 3,170,208   mnasnet1_0 4,383,312   mnasnet1_3 6,282,256

Reads torchvision's checkpoints (layers.0, ..., layers.8.0.layers.0, ..., classifier.1), for which
torch itself wants version 2 in `_metadata`. Differs from the paper: nothing known. Running
statistics move by 3e-4 a step (the paper's 0.9997). Convolutions start as He 2015 with fan-out, the
linear layer uniform with variance 1 / fan-out, as torchvision's.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxcv import layers

_he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_uniform = nn.initializers.variance_scaling(1.0, "fan_out", "uniform")

# The stacks of blocks, layers.8 to layers.13: kernel size, stride, expansion, blocks, channels.
_STACKS = (
    (3, 2, 3, 3, 24),
    (5, 2, 3, 3, 40),
    (5, 2, 6, 3, 80),
    (3, 1, 6, 2, 96),
    (5, 2, 6, 4, 192),
    (3, 1, 6, 1, 320),
)


class MNASNet(nn.Module):
    """[B, H, W, 3] (224x224) -> logits [B, num_classes], float32; stages as STRIDES."""

    stacks: tuple = _STACKS
    alpha: float = 1.0  # of all widths but the last
    num_classes: int = 1000
    dropout: float = 0.2
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        norm = functools.partial(
            layers.BatchNorm, self.frozen_norm or not train, momentum=3e-4, dtype=self.dtype
        )
        conv = functools.partial(
            layers.Conv, use_bias=False, kernel_init=_he_fan_out, dtype=self.dtype
        )
        block = nn.remat(InvertedResidual) if self.remat else InvertedResidual
        width = layers.round_channels(32 * self.alpha)

        stages = {}
        x = conv(width, 3, strides=2, padding=1, name="layers.0")(image)
        x = stages["layers.2"] = nn.relu(norm(name="layers.1")(x))
        x = conv(width, 3, padding=1, groups=width, name="layers.3")(x)  # depthwise
        x = nn.relu(norm(name="layers.4")(x))
        x = conv(layers.round_channels(16 * self.alpha), 1, name="layers.6")(x)
        x = stages["layers.7"] = norm(name="layers.7")(x)
        for place, (size, strides, expansion, blocks, width) in enumerate(self.stacks, start=8):
            width = layers.round_channels(width * self.alpha)
            name = f"layers.{place}"
            for i in range(blocks):
                options = (width, size, 1 if i else strides, expansion)
                x = block(*options, norm, conv, name=f"{name}.{i}")(x)
            stages[name] = x
        x = nn.relu(norm(name="layers.15")(conv(1280, 1, name="layers.14")(x)))
        stages["layers.16"] = x
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))  # [B, 1280]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=_uniform, name="classifier.1")(x)
        return {"logits": logits, "stages": stages}


class InvertedResidual(nn.Module):
    """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), features], plus x where it fits."""

    features: int
    kernel_size: int
    strides: int
    expansion: int
    norm: Callable
    conv: Callable

    @nn.compact
    def __call__(self, x):
        conv, norm = self.conv, self.norm
        expanded = x.shape[-1] * self.expansion
        y = conv(expanded, 1, name="layers.0")(x)
        y = nn.relu(norm(name="layers.1")(y))
        y = conv(  # depthwise
            expanded,
            self.kernel_size,
            strides=self.strides,
            padding=self.kernel_size // 2,
            groups=expanded,
            name="layers.3",
        )(y)
        y = nn.relu(norm(name="layers.4")(y))
        y = norm(name="layers.7")(conv(self.features, 1, name="layers.6")(y))
        return layers.residual(x, y) if x.shape == y.shape else y


VARIANTS = {
    "mnasnet0_5": functools.partial(MNASNet, alpha=0.5),
    "mnasnet0_75": functools.partial(MNASNet, alpha=0.75),
    "mnasnet1_0": functools.partial(MNASNet, alpha=1.0),
    "mnasnet1_3": functools.partial(MNASNet, alpha=1.3),
}

# Pixels of the image from one of a stage's to the next.
_STRIDES = {
    **dict.fromkeys(("layers.2", "layers.7"), 2),
    "layers.8": 4,
    "layers.9": 8,
    **dict.fromkeys(("layers.10", "layers.11"), 16),
    **dict.fromkeys(("layers.12", "layers.13", "layers.16"), 32),
}
STRIDES = dict.fromkeys(VARIANTS, _STRIDES)

# What torchvision's module writes beside the state dict, and asks for when it loads one.
STATE_DICT = {"version": 2}
