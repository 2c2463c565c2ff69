"""AlexNet. Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural
networks", NIPS 2012; Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
2014.

`alexnet_2012` is the network of 2012: two groups in conv2, conv4 and conv5 (there one per GPU),
local response normalisation, 60,965,224 parameters. Its images are 227x227, where the paper says
224 but counts 55x55 outputs of conv1. Submodules have the names of Caffe's layers: conv1, ...,
conv5, fc6, fc7, fc8. Weights start normal with deviation 0.01, in which the signals of a narrow one
fade, biases at 1 in conv2, conv4, conv5, fc6 and fc7, else at 0 (section 5). With `ceil_mode`,
Caffe's, pools round their size up.

`alexnet` is the one tower of 2014 as torchvision has it: 64 kernels in the first layer, no groups,
no response normalisation, 61,100,840 parameters. Reads torchvision's checkpoints (features.0, ...,
classifier.6). Weights start as torch's, uniform in +-1 / sqrt(fan_in), biases at 0 (there: likewise
uniform).

Both pool the last map to 6x6 by overlapping windows where the image is not of the paper's size.
"""

import functools
from typing import Any

import flax.linen as nn

from jaxcv import layers, ops
from jaxcv.models.basic_conv import torch_uniform

_pool = functools.partial(ops.max_pool, window=3, strides=2)


class AlexNet(nn.Module):
    """[B, H, W, 3] (224x224, at least 63) -> logits [B, num_classes], float32; stages as STRIDES.

    Further stages: avgpool [B, 6, 6, widths[-1]], classifier.2 and classifier.5 [B, hidden].
    """

    widths: tuple = (64, 192, 384, 256, 256)  # of the convolutions
    hidden: int = 4096  # width of the linear layers but the last
    num_classes: int = 1000
    dropout: float = 0.5
    dtype: Any = None  # of the computation; parameters are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(layers.Conv, kernel_init=torch_uniform, dtype=self.dtype)
        dense = functools.partial(
            layers.Dense, self.hidden, kernel_init=torch_uniform, dtype=self.dtype
        )
        drop = layers.Dropout(self.dropout, deterministic=not train)
        first, second, third, fourth, fifth = self.widths

        stages = {}
        x = conv(first, 11, strides=4, padding=2, name="features.0")(image)
        x = stages["features.1"] = nn.relu(x)
        x = stages["features.2"] = _pool(x)
        x = stages["features.4"] = nn.relu(conv(second, 5, padding=2, name="features.3")(x))
        x = stages["features.5"] = _pool(x)
        x = stages["features.7"] = nn.relu(conv(third, 3, padding=1, name="features.6")(x))
        x = stages["features.9"] = nn.relu(conv(fourth, 3, padding=1, name="features.8")(x))
        x = stages["features.11"] = nn.relu(conv(fifth, 3, padding=1, name="features.10")(x))
        x = stages["features.12"] = _pool(x)
        x = stages["avgpool"] = ops.adaptive_avg_pool(x, output_size=6)
        x = drop(_flatten(x))
        x = stages["classifier.2"] = nn.relu(dense(name="classifier.1")(x))
        x = stages["classifier.5"] = nn.relu(dense(name="classifier.4")(drop(x)))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=torch_uniform, name="classifier.6")(x)
        return {"logits": logits, "stages": stages}


class AlexNetOf2012(nn.Module):
    """[B, H, W, 3] (227x227, at least 67) -> logits [B, num_classes], float32; stages as STRIDES.

    conv* are before their ReLU, as are the further stages fc6 and fc7, [B, hidden] each.
    """

    widths: tuple = (96, 256, 384, 384, 256)  # of the convolutions
    hidden: int = 4096  # width of the linear layers but the last
    num_classes: int = 1000
    dropout: float = 0.5
    ceil_mode: bool = False  # pools round up: Caffe's sizes
    deviation: float = 0.01  # of the weights at the start
    dtype: Any = None  # of the computation; parameters are float32

    @nn.compact
    def __call__(self, image, train=False):
        ones, normal = nn.initializers.ones, nn.initializers.normal(self.deviation)
        conv = functools.partial(layers.Conv, kernel_init=normal, dtype=self.dtype)
        # Two groups: each half of the kernels sees half of the channels.
        halves = functools.partial(conv, groups=2, bias_init=ones)
        dense = functools.partial(
            layers.Dense, self.hidden, kernel_init=normal, bias_init=ones, dtype=self.dtype
        )
        pool = functools.partial(_pool, ceil_mode=self.ceil_mode)
        drop = layers.Dropout(self.dropout, deterministic=not train)
        first, second, third, fourth, fifth = self.widths

        stages = {}
        x = stages["conv1"] = conv(first, 11, strides=4, name="conv1")(image)
        x = stages["norm1"] = _normalise(nn.relu(x))
        x = stages["pool1"] = pool(x)
        x = stages["conv2"] = halves(second, 5, padding=2, name="conv2")(x)
        x = stages["norm2"] = _normalise(nn.relu(x))
        x = stages["pool2"] = pool(x)
        x = stages["conv3"] = conv(third, 3, padding=1, name="conv3")(x)
        x = stages["conv4"] = halves(fourth, 3, padding=1, name="conv4")(nn.relu(x))
        x = stages["conv5"] = halves(fifth, 3, padding=1, name="conv5")(nn.relu(x))
        x = stages["pool5"] = pool(nn.relu(x))
        x = _flatten(ops.adaptive_avg_pool(x, output_size=6))
        x = stages["fc6"] = dense(name="fc6")(x)
        x = stages["fc7"] = dense(name="fc7")(drop(nn.relu(x)))
        x = drop(nn.relu(x))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=normal, name="fc8")(x)
        return {"logits": logits, "stages": stages}


def _normalise(x):
    """Section 3.3: each channel over (2 + 1e-4 sum of squares of 5 neighbours)^0.75."""
    return ops.local_response_norm(x, size=5, alpha=5 * 1e-4, beta=0.75, k=2)


def _flatten(x):
    """[B, H, W, C] -> [B, C H W]: the order that the published weights expect."""
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


VARIANTS = {
    "alexnet": functools.partial(AlexNet),
    "alexnet_2012": functools.partial(AlexNetOf2012),
}

# Pixels of the image from one of a stage's to the next.
STRIDES = {
    "alexnet": {
        "features.1": 4,
        **dict.fromkeys(("features.2", "features.4"), 8),
        **dict.fromkeys(("features.5", "features.7", "features.9", "features.11"), 16),
        "features.12": 32,
    },
    "alexnet_2012": {
        **dict.fromkeys(("conv1", "norm1"), 4),
        **dict.fromkeys(("pool1", "conv2", "norm2"), 8),
        **dict.fromkeys(("pool2", "conv3", "conv4", "conv5"), 16),
        "pool5": 32,
    },
}

STATE_DICT = {"image": {AlexNetOf2012: (227, 227, 3)}}
