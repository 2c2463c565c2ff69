"""Inception v4. Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the impact of
residual connections on learning", AAAI 2017 (arXiv 2016), figures 3 to 9.

The modules of v3 made uniform, four, seven and three of a kind, behind a new stem that has branches
itself. `inception_v4` has 42,679,816 parameters. Reads timm's checkpoints (features.0.conv, ...,
features.21.branch3.1.bn, last_linear), whose images are scaled to -1..1. Differs from the paper: no
dropout unless asked for. Weights start as torch's, uniform in +-1 / sqrt(fan_in), the linear
layer's biases at 0 (there: likewise uniform).
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops
from jaxcv.models.basic_conv import BasicConv, Branches, chain, torch_uniform

# The pools of the branches leave the padding out.
_average = functools.partial(ops.avg_pool, window=3, strides=1, padding=1, count_include_pad=False)
_halve = functools.partial(ops.max_pool, window=3, strides=2)

# Branches, as basic_conv.Branches explains them. 7x7 is factorised to 1x7 and 7x1.
_STEM = (  # figure 3, the second of its three forks
    ((64, 1), (96, 3, 1, 0)),
    ((64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1, 0)),
)
_INCEPTION_A = (  # figure 4
    ((96, 1),),
    ((64, 1), (96, 3)),
    ((64, 1), (96, 3), (96, 3)),
    (_average, (96, 1)),
)
_REDUCTION_A = (  # figure 7, k, l, m, n = 192, 224, 256, 384 of table 1
    ((384, 3, 2, 0),),
    ((192, 1), (224, 3), (256, 3, 2, 0)),
    (_halve,),
)
_INCEPTION_B = (  # figure 5
    ((384, 1),),
    ((192, 1), (224, (1, 7)), (256, (7, 1))),
    ((192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
    (_average, (128, 1)),
)
_REDUCTION_B = (  # figure 8
    ((192, 1), (192, 3, 2, 0)),
    ((256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, 0)),
    (_halve,),
)


class InceptionV4(nn.Module):
    """[B, H, W, 3] (299x299, at least 75) -> logits [B, num_classes], float32.

    Stages as STRIDES.
    """

    repeats: tuple = (4, 7, 3)  # modules on maps of stride 8, 16 and 32
    width_multiplier: float = 1.0  # of all convolutions
    num_classes: int = 1000
    dropout: float = 0.0  # the paper: 0.2
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each module again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(
            BasicConv,
            use_running_average=self.frozen_norm or not train,
            width_multiplier=self.width_multiplier,
            dtype=self.dtype,
        )
        many, more, few = self.repeats
        halving = functools.partial(conv, kernel_size=3, strides=2, padding=0)
        mixed = nn.remat(Branches) if self.remat else Branches
        last = nn.remat(InceptionC) if self.remat else InceptionC

        x = halving(32, name="features.0")(image)
        x = conv(32, 3, padding=0, name="features.1")(x)
        x = stem = conv(64, 3, name="features.2")(x)
        x = jnp.concatenate([_halve(x), halving(96, name="features.3.conv")(x)], -1)
        stages = {"features.2": stem, "features.3": x}
        x = stages["features.4"] = mixed(_STEM, conv, name="features.4")(x)
        x = jnp.concatenate([halving(192, name="features.5.conv")(x), _halve(x)], -1)
        stages["features.5"] = x
        kinds = [*[_INCEPTION_A] * many, _REDUCTION_A, *[_INCEPTION_B] * more, _REDUCTION_B]
        for place, branches in enumerate(kinds, start=6):
            name = f"features.{place}"
            x = stages[name] = mixed(branches, conv, name=name)(x)
        for place in range(6 + len(kinds), 6 + len(kinds) + few):
            name = f"features.{place}"
            x = stages[name] = last(conv, name=name)(x)
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))  # [B, 1536]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=torch_uniform, name="last_linear")(x)
        return {"logits": logits, "stages": stages}


class InceptionC(nn.Module):
    """[B, H, W, C] -> [B, H, W, 1536]: figure 6, 1x3 beside 3x1."""

    conv: Callable

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        branch0 = conv(256, 1, name="branch0")(x)
        branch1 = conv(384, 1, name="branch1_0")(x)
        branch1 = [
            conv(256, (1, 3), name="branch1_1a")(branch1),
            conv(256, (3, 1), name="branch1_1b")(branch1),
        ]
        branch2 = chain(
            x,
            conv(384, 1, name="branch2_0"),
            conv(448, (3, 1), name="branch2_1"),
            conv(512, (1, 3), name="branch2_2"),
        )
        branch2 = [
            conv(256, (1, 3), name="branch2_3a")(branch2),
            conv(256, (3, 1), name="branch2_3b")(branch2),
        ]
        branch3 = chain(x, _average, conv(256, 1, name="branch3.1"))
        return jnp.concatenate([branch0, *branch1, *branch2, branch3], -1)


VARIANTS = {"inception_v4": functools.partial(InceptionV4)}

# Pixels of the image from one of a stage's to the next.
STRIDES = {
    "inception_v4": {
        "features.2": 2,
        **dict.fromkeys(("features.3", "features.4"), 4),
        **{f"features.{place}": 8 for place in range(5, 10)},
        **{f"features.{place}": 16 for place in range(10, 18)},
        **{f"features.{place}": 32 for place in range(18, 22)},
    }
}

STATE_DICT = {"image": (299, 299, 3)}
