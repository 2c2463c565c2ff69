"""GoogLeNet. Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich, "Going
deeper with convolutions", CVPR 2015 (arXiv 2014), table 1 and figure 3.

Nine Inception modules, 22 layers with weights deep: 57 convolutions and a linear layer, without the
two auxiliary heads, which helped to train it and are returned beside the logits. 1x1 convolutions
make the maps thin before the large kernels: 28x28x192 to 32 channels by 5x5 takes 120,422,400
multiplications, through 16 channels 12,443,648.

`googlenet` is torchvision's, with batch normalisation (epsilon 1e-3), which the paper has not:
13,004,888 parameters, 6,624,904 without the heads. Reads torchvision's checkpoints (conv1.conv,
..., inception5b.branch4.1.bn, aux1.conv.conv, aux1.fc1, aux1.fc2, ..., fc), whose images are scaled
to -1..1. Differs from the paper as these do: the branch "5x5" has 3x3 kernels, pool4 is 2x2, the
heads pool adaptively, dropout before fc is 0.2. Weights start normal with deviation 0.01.

`googlenet_2014` is the paper's: biases, local response normalisation, 5x5 kernels; 13,378,280
parameters, 6,998,552 without the heads. The paper gives neither options of the normalisation
nor initial values: these are Caffe's (size 5, alpha 1e-4, beta 0.75, k 1; weights uniform with
variance 1 / fan-in, biases of convolutions 0.2). Its names are those of `googlenet`; no published
checkpoint has them.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops
from jaxcv.models.basic_conv import BasicConv, scaled

_normal = nn.initializers.normal(0.01)
_xavier = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")

# Table 1: channels of 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection.
_MODULES = (
    ("inception3a", (64, 96, 128, 16, 32, 32)),
    ("inception3b", (128, 128, 192, 32, 96, 64)),
    ("inception4a", (192, 96, 208, 16, 48, 64)),
    ("inception4b", (160, 112, 224, 24, 64, 64)),
    ("inception4c", (128, 128, 256, 24, 64, 64)),
    ("inception4d", (112, 144, 288, 32, 64, 64)),
    ("inception4e", (256, 160, 320, 32, 128, 128)),
    ("inception5a", (256, 160, 320, 32, 128, 128)),
    ("inception5b", (384, 192, 384, 48, 128, 128)),
)
_HEADS = (("aux1", "inception4a"), ("aux2", "inception4d"))

_pool = functools.partial(ops.max_pool, window=3, strides=2, ceil_mode=True)
_respond = functools.partial(ops.local_response_norm, size=5)


class GoogLeNet(nn.Module):
    """[B, H, W, 3] (224x224, at least 47) -> logits [B, num_classes], float32; stages as STRIDES.

    aux holds the logits of the heads aux1 (of inception4a) and aux2 (of inception4d), in evaluation
    too; it is empty without `aux_logits`.
    """

    batch_norm: bool = True  # torchvision's network, else the paper's
    modules: tuple = _MODULES
    width_multiplier: float = 1.0  # of all convolutions
    num_classes: int = 1000
    aux_logits: bool = True
    dropout: float = 0.2
    dropout_aux: float = 0.7
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each module again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        _check(self)
        if self.batch_norm:
            frozen = self.frozen_norm or not train
            conv = functools.partial(BasicConv, use_running_average=frozen, kernel_init=_normal)
            dense = functools.partial(layers.Dense, kernel_init=_normal)
            respond, largest, last_window = (lambda x: x), 3, 2
        else:
            conv = _BiasedConv
            dense = functools.partial(layers.Dense, kernel_init=_xavier)
            respond, largest, last_window = _respond, 5, 3
        conv = functools.partial(conv, width_multiplier=self.width_multiplier, dtype=self.dtype)
        inception = nn.remat(Inception) if self.remat else Inception

        stages = {}
        x = stages["conv1"] = conv(64, 7, strides=2, padding=3, name="conv1")(image)
        x = stages["maxpool1"] = _pool(x)
        x = conv(64, 1, name="conv2")(respond(x))
        x = stages["conv3"] = conv(192, 3, name="conv3")(x)
        x = stages["maxpool2"] = _pool(respond(x))
        for name, features in self.modules:
            if name == "inception4a":
                x = stages["maxpool3"] = _pool(x)
            elif name == "inception5a":
                x = stages["maxpool4"] = _pool(x, window=last_window)
            x = stages[name] = inception(features, largest, conv, name=name)(x)
        last = x

        aux = {}
        for name, source in _HEADS if self.aux_logits else ():
            x = _pool_for_head(stages[source], adaptive=self.batch_norm)
            head = _AuxiliaryHead(self.num_classes, self.dropout_aux, conv, dense, name=name)
            aux[name] = head(x, train)
        x = layers.Dropout(self.dropout, deterministic=not train)(last.mean((1, 2)))  # [B, 1024]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        return {"logits": dense(self.num_classes, name="fc")(x), "stages": stages, "aux": aux}


class Inception(nn.Module):
    """[B, H, W, C] -> [B, H, W, sum of the four branches' features]: the paper's figure 2b.

    Branch 1 is a 1x1 convolution; in the others one makes the map thin before 3x3, before
    `largest`, after the pool.
    """

    features: tuple  # a row of table 1
    largest: int  # kernel of the third branch
    conv: Callable

    @nn.compact
    def __call__(self, x):
        one, three_reduce, three, five_reduce, five, projection = self.features
        conv = self.conv
        branch1 = conv(one, 1, name="branch1")(x)
        branch2 = conv(three_reduce, 1, name="branch2.0")(x)
        branch2 = conv(three, 3, name="branch2.1")(branch2)
        branch3 = conv(five_reduce, 1, name="branch3.0")(x)
        branch3 = conv(five, self.largest, name="branch3.1")(branch3)
        branch4 = ops.max_pool(x, window=3, strides=1, padding=1)
        branch4 = conv(projection, 1, name="branch4.1")(branch4)
        return jnp.concatenate([branch1, branch2, branch3, branch4], -1)


class _AuxiliaryHead(nn.Module):
    """[B, 4, 4, C] -> logits [B, num_classes], float32: section 5."""

    num_classes: int
    dropout: float
    conv: Callable
    dense: Callable

    @nn.compact
    def __call__(self, x, train):
        x = self.conv(128, 1, name="conv")(x)
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # C, H, W: the order fc1's weights expect
        x = nn.relu(self.dense(1024, dtype=x.dtype, name="fc1")(x))
        x = layers.Dropout(self.dropout, deterministic=not train)(x)
        return self.dense(self.num_classes, name="fc2")(x)


class _BiasedConv(nn.Module):
    """Convolution with bias, ReLU: the layer of 2014, named as BasicConv's."""

    features: int
    kernel_size: int
    strides: int = 1
    padding: Any = "SAME"
    width_multiplier: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        conv = layers.Conv(
            scaled(self.features, self.width_multiplier),
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            kernel_init=_xavier,
            bias_init=nn.initializers.constant(0.2),
            dtype=self.dtype,
            name="conv",
        )
        return nn.relu(conv(x))


def _check(model):
    names = [name for name, _ in model.modules]
    missing = [source for _, source in _HEADS if source not in names]
    if model.aux_logits and missing:
        raise ValueError(
            f"modules must have {', '.join(missing)}, which auxiliary heads read, got"
            f" {', '.join(names)}. Without heads (aux_logits=False) they may be left out."
        )


def _pool_for_head(x, *, adaptive):
    """[B, H, W, C] -> [B, 4, 4, C]. The paper's windows of 5x5, stride 3, fit maps of 14 to 16."""
    if not adaptive and min(x.shape[1:3]) >= 5:
        x = ops.avg_pool(x, window=5, strides=3)
    return ops.adaptive_avg_pool(x, output_size=4)


VARIANTS = {
    "googlenet": functools.partial(GoogLeNet),
    "googlenet_2014": functools.partial(GoogLeNet, batch_norm=False, dropout=0.4),
}

# Pixels of the image from one of a stage's to the next.
_STRIDES = {
    "conv1": 2,
    **dict.fromkeys(("maxpool1", "conv3"), 4),
    **dict.fromkeys(("maxpool2", "inception3a", "inception3b"), 8),
    **dict.fromkeys(("maxpool3", *(f"inception4{letter}" for letter in "abcde")), 16),
    **dict.fromkeys(("maxpool4", "inception5a", "inception5b"), 32),
}
STRIDES = dict.fromkeys(VARIANTS, _STRIDES)

STATE_DICT = {"optional": (r"aux[12]\..*",)}
