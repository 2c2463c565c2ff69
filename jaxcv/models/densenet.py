"""DenseNet-BC. Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks",
CVPR 2017 (arXiv 2016), table 1.

Each layer sees the maps of all before it in its block, side by side, and adds k (`growth_rate`) of
its own: norm, ReLU, a 1x1 convolution that makes the many maps 4 k, norm, ReLU, a 3x3. Between
blocks a 1x1 convolution halves the channels and an average pool the size. Parameters:

    densenet121 7,978,856   densenet161 28,681,000   densenet169 14,149,480   densenet201 20,013,928

Reads torchvision's checkpoints (features.conv0, ..., features.denseblock1.denselayer1.norm1, ...,
features.norm5, classifier), also in the published files' older spelling (norm.1, conv.1, ...).
Differs from the paper: nothing known. Convolutions start as He 2015, the linear layer uniform in
+-1 / sqrt(fan_in), as torchvision's.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops
from jaxcv.models.basic_conv import torch_uniform

_he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # Flax's own is truncated


class DenseNet(nn.Module):
    """[B, H, W, 3] (224x224, at least 29) -> logits [B, num_classes], float32; stages as STRIDES.

    features.norm5 is before the ReLU that the logits see.
    """

    growth_rate: int = 32  # k: channels that each layer adds
    block_config: tuple = (6, 12, 24, 16)  # layers of each block
    num_init_features: int = 64  # channels of the first convolution
    bn_size: int = 4  # the 1x1 convolutions make bn_size k channels
    drop_rate: float = 0.0  # of each layer's new channels; the paper: 0.2 without augmentation
    num_classes: int = 1000
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each layer again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        norm = functools.partial(layers.BatchNorm, self.frozen_norm or not train, dtype=self.dtype)
        conv = functools.partial(
            layers.Conv, use_bias=False, kernel_init=_he_normal, dtype=self.dtype
        )
        layer = functools.partial(
            nn.remat(DenseLayer) if self.remat else DenseLayer,
            self.growth_rate,
            self.bn_size * self.growth_rate,
            self.drop_rate if train else 0.0,
            norm,
            conv,
        )
        x = conv(self.num_init_features, 7, strides=2, padding=3, name="features.conv0")(image)
        x = nn.relu(norm(name="features.norm0")(x))
        stages = {"features.relu0": x}
        x = stages["features.pool0"] = ops.max_pool(x, window=3, strides=2, padding=1)
        for block, depth in enumerate(self.block_config, start=1):
            name = f"features.denseblock{block}"
            for i in range(1, depth + 1):
                x = jnp.concatenate([x, layer(name=f"{name}.denselayer{i}")(x)], -1)
            stages[name] = x
            if block < len(self.block_config):
                name = f"features.transition{block}"
                x = nn.relu(norm(name=f"{name}.norm")(x))
                x = conv(x.shape[-1] // 2, 1, name=f"{name}.conv")(x)
                x = stages[name] = ops.avg_pool(x, window=2)
        x = stages["features.norm5"] = norm(name="features.norm5")(x)
        x = nn.relu(x).mean((1, 2))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=torch_uniform, name="classifier")(x)
        return {"logits": logits, "stages": stages}


class DenseLayer(nn.Module):
    """[B, H, W, C] -> the `growth_rate` new maps [B, H, W, growth_rate]: section 3, H_l."""

    growth_rate: int
    bottleneck: int  # channels of the 1x1 convolution
    drop_rate: float
    norm: Callable
    conv: Callable

    @nn.compact
    def __call__(self, x):
        x = nn.relu(self.norm(name="norm1")(x))
        x = self.conv(self.bottleneck, 1, name="conv1")(x)
        x = nn.relu(self.norm(name="norm2")(x))
        x = self.conv(self.growth_rate, 3, padding=1, name="conv2")(x)
        return layers.Dropout(self.drop_rate, deterministic=False)(x)


_CONFIGS = {
    "densenet121": (32, (6, 12, 24, 16), 64),
    "densenet161": (48, (6, 12, 36, 24), 96),
    "densenet169": (32, (6, 12, 32, 32), 64),
    "densenet201": (32, (6, 12, 48, 32), 64),
}
VARIANTS = {
    name: functools.partial(
        DenseNet, growth_rate=growth_rate, block_config=block_config, num_init_features=features
    )
    for name, (growth_rate, block_config, features) in _CONFIGS.items()
}

# Pixels of the image from one of a stage's to the next.
_STRIDES = {
    "features.relu0": 2,
    "features.pool0": 4,
    "features.denseblock1": 4,
    "features.transition1": 8,
    "features.denseblock2": 8,
    "features.transition2": 16,
    "features.denseblock3": 16,
    "features.transition3": 32,
    "features.denseblock4": 32,
    "features.norm5": 32,
}
STRIDES = dict.fromkeys(VARIANTS, _STRIDES)

STATE_DICT = {"renamed": {r"\.(norm|conv)\.([12])\.": r".\1\2."}}
