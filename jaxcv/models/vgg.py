"""VGG. Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition",
ICLR 2015 (arXiv 2014), table 1: columns A, B, D and E, here named by their weight layers.

3x3 convolutions alone, pooled five times: two see what one of 5x5 sees, three what one of 7x7 sees,
with fewer weights (section 2.3). Parameters, and those with batch normalisation (`_bn`):

    vgg11 132,863,336   vgg13 133,047,848   vgg16 138,357,544   vgg19 143,667,240
          132,868,840         133,053,736         138,365,992         143,678,248

Pools have none: a table that sums up to 138,423,208 for VGG-16 counts 65,664 for one of them. The
first linear layer has 102,764,544, a 7x7 convolution on its 7x7 map.

Reads torchvision's checkpoints (features.0, ..., classifier.0, classifier.3, classifier.6). Differs
from the paper as these do: maps of another size than 7x7 are pooled to it by overlapping windows.
Convolutions start as He 2015 with fan-out, linear layers normal with deviation 0.01, biases at 0.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops
from jaxcv.models import atrous

_he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_normal = nn.initializers.normal(0.01)


class VGG(nn.Module):
    """[B, H, W, 3] (224x224, at least 32) -> logits [B, num_classes], float32; stages as STRIDES.

    Stages are features.N, where N counts convolutions, norms, ReLUs and pools: the last ReLU before
    each pool, and each pool. Further stages: avgpool [B, 7, 7, widths[-1]], classifier.1 and
    classifier.4 [B, hidden].
    """

    depths: tuple = (2, 2, 3, 3, 3)  # convolutions before each pool
    widths: tuple = (64, 128, 256, 512, 512)  # of these
    hidden: int = 4096  # width of the linear layers but the last
    batch_norm: bool = False
    num_classes: int = 1000
    dropout: float = 0.5
    output_stride: int = 32  # of the last map; 16 or 8: strides beyond become dilations
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(
            layers.Conv, kernel_size=3, kernel_init=_he_fan_out, dtype=self.dtype
        )
        norm = functools.partial(layers.BatchNorm, self.frozen_norm or not train, dtype=self.dtype)
        dense = functools.partial(layers.Dense, self.hidden, kernel_init=_normal, dtype=self.dtype)
        drop = layers.Dropout(self.dropout, deterministic=not train)

        stages = {}
        x = image
        place = 0  # in torchvision's list of modules
        for pools, (depth, width) in enumerate(zip(self.depths, self.widths)):
            strides, dilation = atrous.strides_and_dilation(
                2, before=2**pools, output_stride=self.output_stride
            )
            for _ in range(depth):
                name = f"features.{place}"
                x = conv(width, padding=dilation, dilation=dilation, name=name)(x)
                if self.batch_norm:
                    place += 1
                    x = norm(name=f"features.{place}")(x)
                x = nn.relu(x)
                place += 2
            stages[f"features.{place - 1}"] = x
            name = f"features.{place}"
            x = stages[name] = MaxPool(strides, dilation, name=name)(x)
            place += 1
        x = stages["avgpool"] = ops.adaptive_avg_pool(x, output_size=7)
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # C, H, W: the order of the weights
        x = stages["classifier.1"] = nn.relu(dense(name="classifier.0")(x))
        x = stages["classifier.4"] = nn.relu(dense(name="classifier.3")(drop(x)))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=_normal, name="classifier.6")(drop(x))
        return {"logits": logits, "stages": stages}


class MaxPool(nn.Module):
    """[B, H, W, C] -> [B, H // strides, ..., C] by 2x2 windows, a module so that tables show it.

    Strides of 1 keep the size of an image that has no negative values.
    """

    strides: int = 2
    dilation: int = 1

    def __call__(self, x):
        if self.strides == 1:  # a zero is no window's maximum: its first pixel is as much
            x = jnp.pad(x, ((0, 0), (0, self.dilation), (0, self.dilation), (0, 0)))
        return ops.max_pool(x, window=2, strides=self.strides, dilation=self.dilation)


_DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}

VARIANTS = {
    name + suffix: functools.partial(VGG, depths=depths, batch_norm=bool(suffix))
    for name, depths in _DEPTHS.items()
    for suffix in ("", "_bn")
}


def _strides(depths, batch_norm):
    strides, place = {}, -1
    for i, depth in enumerate(depths):
        place += depth * (3 if batch_norm else 2)
        strides |= {f"features.{place}": 2**i, f"features.{place + 1}": 2 ** (i + 1)}
        place += 1
    return strides


# Pixels of the image from one of a stage's to the next; at most `output_stride`.
STRIDES = {name: _strides(**variant.keywords) for name, variant in VARIANTS.items()}
