"""EfficientNet. Tan, Le, "EfficientNet: rethinking model scaling for convolutional neural
networks", ICML 2019; "EfficientNetV2: smaller models and faster training", ICML 2021.

A network found by search (b0) and its enlargements in depth, width and image size together: `scale`
is the paper's rule, the published sizes are rounded by hand. Blocks are MobileNetV3's: a 1x1
convolution to more channels, a depthwise one, squeeze and excitation, a 1x1 convolution back. The
early blocks of V2 have one full 3x3 convolution instead of the first two, and no gate. With 1000
classes, image side:

    efficientnet_b0 5,288,548 224    efficientnet_b4 19,341,616 380
    efficientnet_b1 7,794,184 240    efficientnet_b5 30,389,784 456
    efficientnet_b2 9,109,994 260    efficientnet_b6 43,040,704 528
    efficientnet_b3 12,233,232 300   efficientnet_b7 66,347,960 600
    efficientnet_v2_s 21,458,488 384   efficientnet_v2_m 54,139,356 480
    efficientnet_v2_l 118,515,272 480

Reads torchvision's checkpoints: features.0.0, features.1.0.block.0.0, ..., classifier.1.
Differs from the paper: padding is the same on both sides, the authors' puts the odd pixel right and
below. BatchNorm has torch's settings in b0 to b4, epsilon 1e-3 from b5 on and in V2, momentum 0.01
in b5 to b7 (the weight of the new value).
Convolutions start normal with variance 2 / fan-out, the linear layer uniform within +-fan-out^-1/2,
as torchvision's.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn

from jaxcv import layers

# Fused, expansion, kernel, stride of the first block, channels, blocks.
_B0 = (  # table 1 of 2019
    (False, 1, 3, 1, 16, 1),
    (False, 6, 3, 2, 24, 2),
    (False, 6, 5, 2, 40, 2),
    (False, 6, 3, 2, 80, 3),
    (False, 6, 5, 1, 112, 3),
    (False, 6, 5, 2, 192, 4),
    (False, 6, 3, 1, 320, 1),
)
_V2_S = (  # table 4 of 2021
    (True, 1, 3, 1, 24, 2),
    (True, 4, 3, 2, 48, 4),
    (True, 4, 3, 2, 64, 4),
    (False, 4, 3, 2, 128, 6),
    (False, 6, 3, 1, 160, 9),
    (False, 6, 3, 2, 256, 15),
)
_V2_M = (
    (True, 1, 3, 1, 24, 3),
    (True, 4, 3, 2, 48, 5),
    (True, 4, 3, 2, 80, 5),
    (False, 4, 3, 2, 160, 7),
    (False, 6, 3, 1, 176, 14),
    (False, 6, 3, 2, 304, 18),
    (False, 6, 3, 1, 512, 5),
)
_V2_L = (
    (True, 1, 3, 1, 32, 4),
    (True, 4, 3, 2, 64, 7),
    (True, 4, 3, 2, 96, 7),
    (False, 4, 3, 2, 192, 10),
    (False, 6, 3, 1, 224, 19),
    (False, 6, 3, 2, 384, 25),
    (False, 6, 3, 1, 640, 7),
)


class Scale(NamedTuple):
    """How much larger than b0: factors of the depth and the width, and the image's side."""

    depth: float
    width: float
    resolution: float  # pixels


def scale(phi, *, alpha=1.2, beta=1.1, gamma=1.15):
    """Compound scaling: the sizes for 2^phi times the cost of b0, a `Scale`.

    Args:
        phi: how much more to spend; 0 is b0.
        alpha, beta, gamma: factors of depth, width and resolution for one phi. Cost grows by
            alpha beta^2 gamma^2, which the paper keeps near 2 (1.92 with its own values).

    Source: equation 3 and section 4 of the 2019 paper. b1 to b7 are rounded from it by hand.
    """
    return Scale(alpha**phi, beta**phi, 224 * gamma**phi)


class EfficientNet(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages: features.0 (the stem), features.1 and on.
    """

    blocks: tuple = _B0
    width: float = 1.0  # w: factor of all channels, rounded to multiples of 8
    depth: float = 1.0  # d: factor of the number of blocks in a stage, rounded up
    last_width: int | None = None  # channels before the linear layer; 4 times the last stage's
    num_classes: int = 1000
    dropout: float = 0.2  # before the linear layer
    drop_path: float = 0.2  # of the last block, rising linearly from 0
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.1  # the weight of the new value
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(
            layers.ConvNorm,
            activation=nn.silu,
            use_running_average=self.frozen_norm or not train,
            momentum=self.norm_momentum,
            epsilon=self.norm_epsilon,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        )
        # The stem is as wide as the first stage of V2, twice as wide as that of b0.
        stem = self.blocks[0][4] * (1 if self.blocks[0][0] else 2)
        stem = layers.round_channels(stem * self.width)
        x = conv(stem, strides=2, name="features.0")(image)
        stages = {"features.0": x}
        counts = [math.ceil(count * self.depth) for *_, count in self.blocks]
        done = 0
        for stage, (settings, count) in enumerate(zip(self.blocks, counts), start=1):
            for i in range(count):
                rate = self.drop_path * done / sum(counts)
                options = {"drop_path": rate, "deterministic": not train}
                name = f"features.{stage}.{i}"
                x = self._block(settings, i == 0, x.shape[-1], conv, options, name)(x)[0]
                done += 1
            stages[f"features.{stage}"] = x
        last = self.last_width or 4 * x.shape[-1]
        name = f"features.{len(stages)}"
        x = stages[name] = conv(last, 1, name=name)(x)
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        uniform = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        head = layers.Dense(self.num_classes, kernel_init=uniform, name="classifier.1")
        return {"logits": head(x), "stages": stages}

    def _block(self, settings, first, channels, conv, options, name):
        fused, expansion, kernel, strides, features, _ = settings
        kind = FusedBlock if fused else layers.InvertedResidual
        if not fused:
            options |= {
                "squeezed": max(1, channels // 4),
                "activation": nn.silu,
                "squeeze_activation": nn.silu,
            }
        return (nn.remat(kind) if self.remat else kind)(
            layers.round_channels(features * self.width),
            layers.round_channels(channels * expansion),
            conv,
            kernel_size=kernel,
            strides=strides if first else 1,
            name=name,
            **options,
        )


class FusedBlock(nn.Module):
    """Expand and filter at once, then project: [B, H, W, C] -> [B, ceil(H / strides), ...].

    A full convolution to `expanded` channels and a 1x1 one to `features`, or, where nothing is
    expanded, one full convolution. The input is added where shapes agree.

    Returns:
        The output, and the expanded channels at the output's resolution.

    Source: figure 2 of the 2021 paper.
    """

    features: int
    expanded: int
    conv: Callable  # makes a ConvNorm with activation
    kernel_size: int = 3
    strides: int = 1
    drop_path: float = 0.0
    deterministic: bool = True

    @nn.compact
    def __call__(self, x):
        widened = self.expanded != x.shape[-1]
        y = expanded = self.conv(
            self.expanded if widened else self.features,
            self.kernel_size,
            strides=self.strides,
            name="block.0",
        )(x)
        if widened:
            y = self.conv(self.features, 1, activation=None, name="block.1")(y)
        if self.strides == 1 and x.shape[-1] == self.features:
            drop_path = layers.DropPath(self.drop_path, deterministic=self.deterministic)
            y = layers.residual(x, drop_path(y))
        return y, expanded


# Width, depth, dropout: the authors' code (the paper gives none of b1 to b7).
_LARGE = {
    "efficientnet_b0": (1.0, 1.0, 0.2),
    "efficientnet_b1": (1.0, 1.1, 0.2),
    "efficientnet_b2": (1.1, 1.2, 0.3),
    "efficientnet_b3": (1.2, 1.4, 0.3),
    "efficientnet_b4": (1.4, 1.8, 0.4),
}
_LARGER = {
    "efficientnet_b5": (1.6, 2.2, 0.4),
    "efficientnet_b6": (1.8, 2.6, 0.5),
    "efficientnet_b7": (2.0, 3.1, 0.5),
}
_V2 = {
    "efficientnet_v2_s": (_V2_S, 0.2),
    "efficientnet_v2_m": (_V2_M, 0.3),
    "efficientnet_v2_l": (_V2_L, 0.4),
}

VARIANTS = {
    **{
        name: functools.partial(EfficientNet, width=width, depth=depth, dropout=dropout)
        for name, (width, depth, dropout) in _LARGE.items()
    },
    **{
        name: functools.partial(
            EfficientNet,
            width=width,
            depth=depth,
            dropout=dropout,
            norm_epsilon=1e-3,
            norm_momentum=0.01,
        )
        for name, (width, depth, dropout) in _LARGER.items()
    },
    **{
        name: functools.partial(
            EfficientNet, blocks=blocks, last_width=1280, dropout=dropout, norm_epsilon=1e-3
        )
        for name, (blocks, dropout) in _V2.items()
    },
}


def _strides(blocks):
    total, strides = 2, {"features.0": 2}
    for stage, (_, _, _, first, _, _) in enumerate(blocks, start=1):
        total *= first
        strides[f"features.{stage}"] = total
    return strides | {f"features.{len(blocks) + 1}": total}


# Pixels of the image from one of the map to the next.
STRIDES = {
    name: _strides(variant.keywords.get("blocks", _B0)) for name, variant in VARIANTS.items()
}
