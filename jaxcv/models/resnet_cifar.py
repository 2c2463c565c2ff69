"""ResNets for CIFAR. He, Zhang, Ren, Sun, "Deep residual learning for image recognition",
CVPR 2016 (arXiv 2015), section 4.2.

The depth is 6n + 2: a 3x3 convolution, three stages of n basic blocks on maps of 32, 16 and 8
pixels with 16, 32 and 64 channels, global average pooling, one linear layer. Shortcuts have no
parameters (option A). With 10 classes and 3 channels:

    resnet20 269,722   resnet32 464,154   resnet44 658,586   resnet56 853,018   resnet110 1,727,962

Reads checkpoints with the keys conv1, bn1, layer1.0.conv1, layer1.0.bn1, ..., linear; where their
shortcuts are of option A, which differ in nothing but a stride and zeros, these have no keys.
Differs from the paper: nothing known. Convolutions are drawn as in its reference [13] (He 2015,
normal with variance 2 / fan_in); for the linear layer, which no ReLU follows, it states nothing,
and we take variance 1 / fan_in (LeCun, Flax's default).
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers

_he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # Flax's own is truncated


class ResNetCifar(nn.Module):
    """[B, H, W, C] (32x32x3) -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages layer1, layer2, layer3 have strides 1, 2, 4 and width, 2 width, 4 width channels.
    """

    depth: int = 20  # 6n + 2
    width: int = 16  # channels of the first stage
    num_classes: int = 10
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        blocks, remainder = divmod(self.depth - 2, 6)
        if blocks < 1 or remainder:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ...), got {self.depth}.")
        conv = functools.partial(
            layers.Conv,
            kernel_size=(3, 3),
            padding=1,
            use_bias=False,
            kernel_init=_he_normal,
            dtype=self.dtype,
        )
        norm = functools.partial(
            layers.BatchNorm,
            use_running_average=self.frozen_norm or not train,
            dtype=self.dtype,
        )
        block = nn.remat(BasicBlock) if self.remat else BasicBlock

        x = nn.relu(norm(name="bn1")(conv(self.width, name="conv1")(image)))
        stages = {}
        for stage in range(3):
            for i in range(blocks):
                x = block(
                    features=self.width * 2**stage,
                    strides=2 if stage > 0 and i == 0 else 1,
                    conv=conv,
                    norm=norm,
                    name=f"layer{stage + 1}.{i}",
                )(x)
            stages[f"layer{stage + 1}"] = x
        x = x.mean((1, 2))  # [B, 4 width]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        return {"logits": layers.Dense(self.num_classes, name="linear")(x), "stages": stages}


class BasicBlock(nn.Module):
    """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), features]: figure 2 of the paper.

    `conv` and `norm` make the layers; features >= C.
    """

    features: int
    strides: int
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x):
        y = self.conv(self.features, strides=self.strides, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.norm(name="bn2")(self.conv(self.features, name="conv2")(y))
        return nn.relu(layers.residual(_shortcut(x, self.features, self.strides), y))


def _shortcut(x, features, strides):
    """Option A: every `strides`-th pixel, and zeros for new channels, half before, half after."""
    added = features - x.shape[-1]
    before = added // 2
    return jnp.pad(x[:, ::strides, ::strides], ((0, 0), (0, 0), (0, 0), (before, added - before)))


VARIANTS = {
    f"resnet{depth}": functools.partial(ResNetCifar, depth=depth) for depth in (20, 32, 44, 56, 110)
}

STATE_DICT = {"image": (32, 32, 3)}
