"""Inception-ResNet v2. Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the
impact of residual connections on learning", AAAI 2017 (arXiv 2016), section 3.2.

Inception modules as residual branches: a 1x1 convolution without ReLU brings them to the width
of the shortcut, and they are scaled down before they are added, or training dies (section 3.3).

`inception_resnet_v2` has 55,843,464 parameters. Reads timm's checkpoints (conv2d_1a.conv, ...,
repeat.0.branch0.conv, ..., repeat.0.conv2d, ..., conv2d_7b.bn, classif), whose images are scaled to
-1..1. Differs from the paper as these do, after Google's code: the stem is v3's with a module of
branches (mixed_5b) instead of v4's, there are 10, 20 and 10 blocks instead of 5, 10 and 5, some of
other widths, and the last has neither scale nor ReLU. Weights start as torch's, uniform in
+-1 / sqrt(fan_in), biases at 0 (there: likewise uniform).
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxcv import layers, ops
from jaxcv.models.basic_conv import BasicConv, Branches, concatenate_branches, torch_uniform

# The pool of the branch leaves the padding out.
_average = functools.partial(ops.avg_pool, window=3, strides=1, padding=1, count_include_pad=False)
_halve = functools.partial(ops.max_pool, window=3, strides=2)

# Branches, as basic_conv.Branches explains them. 7x7 is factorised to 1x7 and 7x1, 3x3 likewise.
_MIXED_5B = (
    ((96, 1),),
    ((48, 1), (64, 5)),
    ((64, 1), (96, 3), (96, 3)),
    (_average, (64, 1)),
)
_BLOCK_35 = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))  # figure 16
_MIXED_6A = (  # figure 7, k, l, m, n = 256, 256, 384, 384 of table 1
    ((384, 3, 2, 0),),
    ((256, 1), (256, 3), (384, 3, 2, 0)),
    (_halve,),
)
_BLOCK_17 = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))  # figure 17
_MIXED_7A = (  # figure 18
    ((256, 1), (384, 3, 2, 0)),
    ((256, 1), (288, 3, 2, 0)),
    ((256, 1), (288, 3), (320, 3, 2, 0)),
    (_halve,),
)
_BLOCK_8 = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))  # figure 19


class InceptionResNetV2(nn.Module):
    """[B, H, W, 3] (299x299, at least 75) -> logits [B, num_classes], float32.

    Stages as STRIDES.
    """

    repeats: tuple = (10, 20, 9)  # blocks on maps of stride 8, 16 and 32, where one follows
    width_multiplier: float = 1.0  # of all convolutions but those of shortcuts' width
    num_classes: int = 1000
    dropout: float = 0.0  # the paper: 0.2
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
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
        block = nn.remat(Block) if self.remat else Block
        block = functools.partial(block, conv=conv, dtype=self.dtype)
        repeat = functools.partial(_repeat, block=block)

        stages = {}
        x = conv(32, 3, strides=2, padding=0, name="conv2d_1a")(image)
        x = conv(32, 3, padding=0, name="conv2d_2a")(x)
        x = stages["conv2d_2b"] = conv(64, 3, name="conv2d_2b")(x)
        x = stages["maxpool_3a"] = _halve(x)
        x = conv(80, 1, name="conv2d_3b")(x)
        x = stages["conv2d_4a"] = conv(192, 3, padding=0, name="conv2d_4a")(x)
        x = stages["maxpool_5a"] = _halve(x)
        x = stages["mixed_5b"] = Branches(_MIXED_5B, conv, name="mixed_5b")(x)
        x = stages["repeat"] = repeat(x, many, _BLOCK_35, 0.17, name="repeat")
        x = stages["mixed_6a"] = Branches(_MIXED_6A, conv, name="mixed_6a")(x)
        x = stages["repeat_1"] = repeat(x, more, _BLOCK_17, 0.1, name="repeat_1")
        x = stages["mixed_7a"] = Branches(_MIXED_7A, conv, name="mixed_7a")(x)
        x = stages["repeat_2"] = repeat(x, few, _BLOCK_8, 0.2, name="repeat_2")
        x = stages["block8"] = block(_BLOCK_8, 1.0, name="block8")(x)
        x = stages["conv2d_7b"] = conv(1536, 1, name="conv2d_7b")(x)
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))  # [B, 1536]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=torch_uniform, name="classif")(x)
        return {"logits": logits, "stages": stages}


class Block(nn.Module):
    """x plus `scale` times branches that see it: [B, H, W, C] -> same, before the ReLU."""

    branches: tuple
    scale: float
    conv: Callable
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        y = concatenate_branches(x, self.branches, self.conv)
        # 1x1, back to the width of x.
        widen = layers.Conv(
            x.shape[-1], 1, kernel_init=torch_uniform, dtype=self.dtype, name="conv2d"
        )
        return x + self.scale * widen(y)


def _repeat(x, times, branches, scale, *, block, name):
    """x through `times` blocks, in the scope of the module that calls this."""
    for i in range(times):
        x = nn.relu(block(branches, scale, name=f"{name}.{i}")(x))
    return x


VARIANTS = {"inception_resnet_v2": functools.partial(InceptionResNetV2)}

# Pixels of the image from one of a stage's to the next.
STRIDES = {
    "inception_resnet_v2": {
        "conv2d_2b": 2,
        **dict.fromkeys(("maxpool_3a", "conv2d_4a"), 4),
        **dict.fromkeys(("maxpool_5a", "mixed_5b", "repeat"), 8),
        **dict.fromkeys(("mixed_6a", "repeat_1"), 16),
        **dict.fromkeys(("mixed_7a", "repeat_2", "block8", "conv2d_7b"), 32),
    }
}

STATE_DICT = {"image": (299, 299, 3)}
