"""RegNet. Radosavovic, Kosaraju, Girshick, He, Dollár, "Designing network design spaces", CVPR
2020, section 4 and the tables of its appendix.

ResNet's bottleneck blocks (without a bottleneck) whose 3x3 convolutions have groups of a fixed
width. The width of block j is w_0 + w_a j, rounded to a power of w_m times w_0 and to a multiple of
8: four numbers, with the depth, say the whole network. `regnet_y` has squeeze-and-excitation (Hu
2018) besides. Parameters:

    regnet_x_400mf 5,495,976     regnet_x_800mf 7,259,656    regnet_x_1_6gf 9,190,136
    regnet_x_3_2gf 15,296,552    regnet_x_8gf 39,572,648     regnet_x_16gf 54,278,536
    regnet_x_32gf 107,811,560
    regnet_y_400mf 4,344,144     regnet_y_800mf 6,432,512    regnet_y_1_6gf 11,202,430
    regnet_y_3_2gf 19,436,338    regnet_y_8gf 39,381,472     regnet_y_16gf 83,590,140
    regnet_y_32gf 145,046,770    regnet_y_128gf 644,812,894

Reads torchvision's checkpoints (stem.0, stem.1, trunk_output.block1.block1-0.proj.0, ...,
trunk_output.block1.block1-0.f.a.0, ..., fc). Differs from the paper: nothing known; regnet_y_128gf
is not in it. Convolutions start as He 2015 with fan-out (k k out, whatever the groups), the linear
layer normal with deviation 0.01.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from jaxcv import layers

_he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class RegNet(nn.Module):
    """[B, H, W, 3] (224x224) -> logits [B, num_classes], float32; stages as STRIDES."""

    depth: int = 16  # blocks
    w_0: int = 48
    w_a: float = 27.89
    w_m: float = 2.09
    group_width: int = 8
    se_ratio: float = 0.0  # channels of the squeeze over those that the block sees; 0: none
    num_classes: int = 1000
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        norm = functools.partial(layers.BatchNorm, self.frozen_norm or not train, dtype=self.dtype)
        conv = functools.partial(
            layers.Conv, use_bias=False, kernel_init=_he_fan_out, dtype=self.dtype
        )
        gate = functools.partial(
            layers.SqueezeExcitation, kernel_init=_he_fan_out, dtype=self.dtype
        )
        block = nn.remat(Block) if self.remat else Block

        x = conv(32, 3, strides=2, padding=1, name="stem.0")(image)
        x = nn.relu(norm(name="stem.1")(x))
        stages = {"stem": x}
        plan = stage_plan(self.depth, self.w_0, self.w_a, self.w_m, self.group_width)
        for stage, (depth, width, group_width) in enumerate(plan, start=1):
            name = f"trunk_output.block{stage}"
            for i in range(depth):
                x = block(
                    width,
                    1 if i else 2,
                    width // group_width,
                    round(self.se_ratio * x.shape[-1]),
                    norm,
                    conv,
                    gate,
                    name=f"{name}.block{stage}-{i}",
                )(x)
            stages[name] = x
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        dense = layers.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.01), name="fc")
        return {"logits": dense(x.mean((1, 2))), "stages": stages}


class Block(nn.Module):
    """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), features]."""

    features: int
    strides: int
    groups: int
    squeezed: int  # channels of the squeeze, 0: no squeeze-and-excitation
    norm: Callable
    conv: Callable
    gate: Callable  # makes the squeeze-and-excitation

    @nn.compact
    def __call__(self, x):
        def layer(x, name, size=1, **options):
            x = self.conv(self.features, size, padding=size // 2, **options, name=f"{name}.0")(x)
            return self.norm(name=f"{name}.1")(x)

        strided = self.strides > 1 or x.shape[-1] != self.features
        skip = layer(x, "proj", strides=self.strides) if strided else x
        y = nn.relu(layer(x, "f.a"))
        y = nn.relu(layer(y, "f.b", 3, strides=self.strides, groups=self.groups))
        if self.squeezed:
            y = self.gate(self.squeezed, name="f.se")(y)
        return nn.relu(layers.residual(skip, layer(y, "f.c")))


def stage_plan(depth, w_0, w_a, w_m, group_width):
    """Runs of equal blocks, a stage each: [(blocks, width, width of a group), ...].

    Source: equations 2 to 4 of the paper; widths that the groups do not divide are rounded to the
    nearest multiple, up where that would take away more than a tenth.
    """
    powers = np.round(np.log((w_0 + w_a * np.arange(depth)) / w_0) / math.log(w_m))
    rounded = 8 * np.round(w_0 * w_m**powers / 8)
    plan = []
    for width, blocks in zip(*np.unique(rounded.astype(int), return_counts=True)):
        group = min(group_width, int(width))
        fitting = max(group, int(width + group / 2) // group * group)
        plan.append((int(blocks), fitting + group * (fitting < 0.9 * width), group))
    return plan


# The designs that torchvision has weights of: depth, w_0, w_a, w_m, group width.
_DESIGNS = {
    "regnet_x_400mf": (22, 24, 24.48, 2.54, 16),
    "regnet_x_800mf": (16, 56, 35.73, 2.28, 16),
    "regnet_x_1_6gf": (18, 80, 34.01, 2.25, 24),
    "regnet_x_3_2gf": (25, 88, 26.31, 2.25, 48),
    "regnet_x_8gf": (23, 80, 49.56, 2.88, 120),
    "regnet_x_16gf": (22, 216, 55.59, 2.1, 128),
    "regnet_x_32gf": (23, 320, 69.86, 2.0, 168),
    "regnet_y_400mf": (16, 48, 27.89, 2.09, 8),
    "regnet_y_800mf": (14, 56, 38.84, 2.4, 16),
    "regnet_y_1_6gf": (27, 48, 20.71, 2.65, 24),
    "regnet_y_3_2gf": (21, 80, 42.63, 2.66, 24),
    "regnet_y_8gf": (17, 192, 76.82, 2.19, 56),
    "regnet_y_16gf": (18, 200, 106.23, 2.48, 112),
    "regnet_y_32gf": (20, 232, 115.89, 2.53, 232),
    "regnet_y_128gf": (27, 456, 160.83, 2.52, 264),
}
VARIANTS = {
    name: functools.partial(
        RegNet,
        **dict(zip(("depth", "w_0", "w_a", "w_m", "group_width"), design)),
        se_ratio=0.25 if name.startswith("regnet_y") else 0.0,
    )
    for name, design in _DESIGNS.items()
}

# Pixels of the image from one of a stage's to the next.
_STRIDES = {"stem": 2, **{f"trunk_output.block{i}": 2 ** (i + 1) for i in range(1, 5)}}
STRIDES = dict.fromkeys(VARIANTS, _STRIDES)
