"""ShuffleNet v2. Ma, Zhang, Zheng, Sun, "ShuffleNet V2: practical guidelines for efficient CNN
architecture design", ECCV 2018, table 5 and figure 3 (c, d).

A block leaves half of the channels as they are and sends the others through a 1x1 convolution, a
depthwise 3x3 (a kernel for each channel alone) and another 1x1; then the halves are interleaved,
so that the next block's split mixes them. Parameters:

    shufflenet_v2_x0_5 1,366,792    shufflenet_v2_x1_0 2,278,604
    shufflenet_v2_x1_5 3,503,624    shufflenet_v2_x2_0 7,393,996

Reads torchvision's checkpoints (conv1.0, conv1.1, stage2.0.branch1.0, ..., conv5.1, fc). Differs
from the paper: nothing known. Weights start as torch's, uniform in +-1 / sqrt(fan_in), the linear
layer's biases at 0 (there: likewise uniform).
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops
from jaxcv.models.basic_conv import torch_uniform


class ShuffleNetV2(nn.Module):
    """[B, H, W, 3] (224x224) -> logits [B, num_classes], float32; stages as STRIDES."""

    repeats: tuple = (4, 8, 4)
    widths: tuple = (24, 116, 232, 464, 1024)  # of conv1, the three stages, conv5
    num_classes: int = 1000
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        norm = functools.partial(layers.BatchNorm, self.frozen_norm or not train, dtype=self.dtype)
        conv = functools.partial(
            layers.Conv, use_bias=False, kernel_init=torch_uniform, dtype=self.dtype
        )
        block = nn.remat(Block) if self.remat else Block

        x = conv(self.widths[0], 3, strides=2, padding=1, name="conv1.0")(image)
        x = nn.relu(norm(name="conv1.1")(x))
        stages = {"conv1": x}
        x = stages["maxpool"] = ops.max_pool(x, window=3, strides=2, padding=1)
        for stage, (repeats, width) in enumerate(zip(self.repeats, self.widths[1:]), start=2):
            name = f"stage{stage}"
            for i in range(repeats):
                x = block(width // 2, 1 if i else 2, norm, conv, name=f"{name}.{i}")(x)
            stages[name] = x
        x = nn.relu(norm(name="conv5.1")(conv(self.widths[-1], 1, name="conv5.0")(x)))
        stages["conv5"] = x
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        dense = layers.Dense(self.num_classes, kernel_init=torch_uniform, name="fc")
        return {"logits": dense(x.mean((1, 2))), "stages": stages}


class Block(nn.Module):
    """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), 2 features]: figure 3 (c), (d).

    With a stride of 2 both branches see all channels.
    """

    features: int
    strides: int
    norm: Callable
    conv: Callable

    @nn.compact
    def __call__(self, x):
        conv, norm = self.conv, self.norm
        depthwise = functools.partial(conv, kernel_size=3, strides=self.strides, padding=1)
        if self.strides == 1:
            kept, x = jnp.split(x, 2, -1)
        else:
            channels = x.shape[-1]
            kept = depthwise(channels, groups=channels, name="branch1.0")(x)
            kept = conv(self.features, 1, name="branch1.2")(norm(name="branch1.1")(kept))
            kept = nn.relu(norm(name="branch1.3")(kept))
        x = conv(self.features, 1, name="branch2.0")(x)
        x = nn.relu(norm(name="branch2.1")(x))
        x = depthwise(self.features, groups=self.features, name="branch2.3")(x)
        x = conv(self.features, 1, name="branch2.5")(norm(name="branch2.4")(x))
        x = nn.relu(norm(name="branch2.6")(x))
        # Channel i of the one, channel i of the other.
        return jnp.stack([kept, x], -1).reshape(*x.shape[:-1], 2 * self.features)


_WIDTHS = {
    "x0_5": (24, 48, 96, 192, 1024),
    "x1_0": (24, 116, 232, 464, 1024),
    "x1_5": (24, 176, 352, 704, 1024),
    "x2_0": (24, 244, 488, 976, 2048),
}
VARIANTS = {
    f"shufflenet_v2_{size}": functools.partial(ShuffleNetV2, widths=widths)
    for size, widths in _WIDTHS.items()
}

# Pixels of the image from one of a stage's to the next.
_STRIDES = {"conv1": 2, "maxpool": 4, "stage2": 8, "stage3": 16, "stage4": 32, "conv5": 32}
STRIDES = dict.fromkeys(VARIANTS, _STRIDES)
