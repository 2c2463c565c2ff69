"""MobileNetV3. Howard et al., "Searching for MobileNetV3", ICCV 2019.

Blocks of MobileNetV2 (a 1x1 convolution to more channels, a depthwise one, a 1x1 convolution back)
with squeeze and excitation in some and hard-swish, x relu6(x + 3) / 6, in the later ones. With 1000
classes:

    mobilenet_v3_small 2,542,856   mobilenet_v3_large 5,483,032

Reads torchvision's checkpoints: features.0.0, features.1.block.0.0, ..., classifier.0,
classifier.3.
Differs from the paper: the gate's 1x1 convolutions have a quarter of the expanded channels *rounded
to a multiple of 8*, and the last block of `large` expands 160 channels to 960; both as in the
authors' code. BatchNorm has epsilon 1e-3 and momentum 0.01 (the weight of the new value).
Convolutions start normal with variance 2 / fan-out, linear layers normal with deviation 0.01, as
torchvision's.
"""

import functools
from typing import Any

import flax.linen as nn

from jaxcv import layers

_NONLINEARITIES = {"RE": nn.relu, "HS": nn.hard_swish}

# Kernel, expanded channels, channels out, gate, nonlinearity, stride: tables 1 and 2.
_LARGE = (
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
)
_SMALL = (
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
)


class MobileNetV3(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages: features.0 and on, the output of each block, and C4 (the paper's section 6.3): the
    expanded channels of the last block with a stride, `features.N.block.0`, at stride 16.
    """

    blocks: tuple = _LARGE
    last_width: int = 1280  # of the linear layer before the classes
    width_multiplier: float = 1.0  # of all channels, rounded to multiples of 8
    reduced_tail: bool = False  # halves the channels from the last stride on, for detection
    dilated: bool = False  # an atrous depthwise convolution for the last stride: 16 in all
    num_classes: int = 1000
    dropout: float = 0.2  # before the last linear layer
    norm_momentum: float = 0.01  # the weight of the new value
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(
            layers.ConvNorm,
            use_running_average=self.frozen_norm or not train,
            momentum=self.norm_momentum,
            epsilon=1e-3,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        )
        block = nn.remat(layers.InvertedResidual) if self.remat else layers.InvertedResidual
        stem = layers.round_channels(16 * self.width_multiplier)
        x = conv(stem, strides=2, activation=nn.hard_swish, name="features.0")(image)
        stages = {"features.0": x}
        tail = _tail(self.blocks)
        for i, (kernel, expanded, channels, gated, nonlinearity, strides) in enumerate(self.blocks):
            half = self.reduced_tail and i >= tail  # the first of the tail expands as before
            channels = self._width(channels, half)
            expanded = self._width(expanded, half and i > tail)
            name = f"features.{i + 1}"
            x, wide = block(
                channels,
                expanded,
                conv,
                kernel_size=kernel,
                strides=strides,
                dilation=2 if self.dilated and i >= tail else 1,
                squeezed=layers.round_channels(expanded // 4) if gated else 0,
                gate=nn.hard_sigmoid,
                activation=_NONLINEARITIES[nonlinearity],
                name=name,
            )(x)
            stages[name] = x
            if i == tail:
                stages[f"{name}.block.0"] = wide
        name = f"features.{len(self.blocks) + 1}"
        widest = conv(6 * x.shape[-1], 1, activation=nn.hard_swish, name=name)
        x = stages[name] = widest(x)
        return {"logits": self._head(x.mean((1, 2)), train), "stages": stages}

    def _width(self, channels, half):
        return layers.round_channels(channels // (2 if half else 1) * self.width_multiplier)

    def _head(self, x, train):
        dense = functools.partial(layers.Dense, kernel_init=nn.initializers.normal(0.01))
        width = self._width(self.last_width, self.reduced_tail)
        x = nn.hard_swish(dense(width, dtype=self.dtype, name="classifier.0")(x))
        x = layers.Dropout(self.dropout, deterministic=not train)(x)
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        return dense(self.num_classes, name="classifier.3")(x)


def _tail(blocks):
    """Index of the last block with a stride."""
    return max(i for i, (*_, strides) in enumerate(blocks) if strides == 2)


def _strides(blocks):
    strides, total = {"features.0": 2}, 2
    for i, (*_, first) in enumerate(blocks):
        if i == _tail(blocks):
            strides[f"features.{i + 1}.block.0"] = total
        total *= first
        strides[f"features.{i + 1}"] = total
    return strides | {f"features.{len(blocks) + 1}": total}


VARIANTS = {
    "mobilenet_v3_small": functools.partial(MobileNetV3, blocks=_SMALL, last_width=1024),
    "mobilenet_v3_large": functools.partial(MobileNetV3, blocks=_LARGE, last_width=1280),
}

# Pixels of the image from one of the map to the next; at most 16 where `dilated`.
STRIDES = {
    "mobilenet_v3_small": _strides(_SMALL),
    "mobilenet_v3_large": _strides(_LARGE),
}
