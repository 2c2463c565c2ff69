"""BN-Inception, also called Inception v2. Ioffe, Szegedy, "Batch normalization: accelerating deep
network training by reducing internal covariate shift", ICML 2015, appendix (figure 5).

GoogLeNet with batch normalisation after each convolution, its 5x5 factorised to two 3x3 one after
the other, modules of stride 2 (3c, 4e) instead of two of the pools, and average pools in most
modules. (Factorising further, 7x7 to 1x7 and 7x1, is of Szegedy 2016: inception_v3.py.)

`bninception` has 11,295,240 parameters. Reads the checkpoint of Caffe's layers' names that
pretrainedmodels distributes (conv1_7x7_s2, conv1_7x7_s2_bn, ..., inception_5b_pool_proj_bn,
last_linear), whose images are BGR in 0..255 less (104, 117, 128). Differs from the paper as that
does: convolutions have biases before the norms, no auxiliary heads, the first convolution is an
ordinary one (the paper's is separable, of depth multiplier 8). Weights start as torch's, uniform
in +-1 / sqrt(fan_in), biases at 0 (there: likewise uniform).
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops
from jaxcv.models.basic_conv import scaled, torch_uniform

# Figure 5: name; channels of 1x1 (None: a module of stride 2, whose pool has no projection); 3x3
# reduce, 3x3; double 3x3 reduce, double 3x3; pool, and its projection.
_MODULES = (
    ("3a", 64, 64, 64, 64, 96, "average", 32),
    ("3b", 64, 64, 96, 64, 96, "average", 64),
    ("3c", None, 128, 160, 64, 96, "max", None),
    ("4a", 224, 64, 96, 96, 128, "average", 128),
    ("4b", 192, 96, 128, 96, 128, "average", 128),
    ("4c", 160, 128, 160, 128, 160, "average", 128),
    ("4d", 96, 128, 192, 160, 192, "average", 128),
    ("4e", None, 128, 192, 192, 256, "max", None),
    ("5a", 352, 192, 320, 160, 224, "average", 128),
    ("5b", 352, 192, 320, 192, 224, "max", 128),
)
# What follows each module: that module's input is the stage that the reference can name.
_STAGES = {
    "3a": "inception_3b_1x1.input",
    "3c": "inception_4a_1x1.input",
    "4d": "inception_4e_3x3_reduce.input",
    "4e": "inception_5a_1x1.input",
    "5a": "inception_5b_1x1.input",
    "5b": "global_pool.input",
}
_pool = functools.partial(ops.max_pool, window=3, strides=2, ceil_mode=True)


class BNInception(nn.Module):
    """[B, H, W, 3] (224x224) -> logits [B, num_classes], float32; stages as STRIDES.

    Sides of 32 n - 1 to 32 n + 6 from 63 on, so 223 to 230: modules of stride 2 need even maps.
    """

    modules: tuple = _MODULES
    width_multiplier: float = 1.0  # of all convolutions
    num_classes: int = 1000
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        norm = functools.partial(layers.BatchNorm, self.frozen_norm or not train, dtype=self.dtype)
        conv = functools.partial(
            _conv, norm=norm, width_multiplier=self.width_multiplier, dtype=self.dtype
        )

        stages = {}
        x = conv(image, 64, 7, strides=2, name="conv1_7x7_s2")
        stages["conv1_relu_7x7"] = x
        x = stages["pool1_3x3_s2"] = _pool(x)
        x = conv(x, 64, 1, name="conv2_3x3_reduce")
        x = stages["conv2_relu_3x3"] = conv(x, 192, 3, name="conv2_3x3")
        x = stages["pool2_3x3_s2"] = _pool(x)
        for name, *row in self.modules:
            x = _inception(x, row, conv=functools.partial(conv, prefix=f"inception_{name}_"))
            if name in _STAGES:
                stages[_STAGES[name]] = x
        x = x.mean((1, 2))  # [B, 1024]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        logits = layers.Dense(self.num_classes, kernel_init=torch_uniform, name="last_linear")(x)
        return {"logits": logits, "stages": stages}


def _inception(x, row, *, conv):
    """A module of the calling one's scope: [B, H, W, C] -> [B, H, W, C'], or half the size."""
    one, three_reduce, three, double_reduce, double, pool, projection = row
    strides = 2 if one is None else 1
    if strides == 2 and (x.shape[1] % 2 or x.shape[2] % 2):
        raise ValueError(
            f"image gives a map of {x.shape[1]}x{x.shape[2]} before a module of stride 2, which"
            " needs even sides. Take sides that are multiples of 32."
        )
    branches = [] if one is None else [conv(x, one, 1, name="1x1")]
    thin = conv(x, three_reduce, 1, name="3x3_reduce")
    branches.append(conv(thin, three, 3, strides=strides, name="3x3"))
    thin = conv(x, double_reduce, 1, name="double_3x3_reduce")
    thin = conv(thin, double, 3, name="double_3x3_1")
    branches.append(conv(thin, double, 3, strides=strides, name="double_3x3_2"))
    if strides == 2:
        branches.append(_pool(x))
    else:
        pool = ops.avg_pool if pool == "average" else ops.max_pool
        pooled = pool(x, window=3, strides=1, padding=1)
        branches.append(conv(pooled, projection, 1, name="pool_proj"))
    return jnp.concatenate(branches, -1)


def _conv(x, features, size, *, strides=1, prefix="", name, norm, width_multiplier, dtype):
    """Convolution with bias, batch normalisation, ReLU, of the calling module's scope."""
    name = prefix + name
    x = layers.Conv(
        scaled(features, width_multiplier),
        size,
        strides=strides,
        padding=size // 2,
        kernel_init=torch_uniform,
        dtype=dtype,
        name=name,
    )(x)
    return nn.relu(norm(name=f"{name}_bn")(x))


VARIANTS = {"bninception": functools.partial(BNInception)}

# Pixels of the image from one of a stage's to the next.
STRIDES = {
    "bninception": {
        "conv1_relu_7x7": 2,
        **dict.fromkeys(("pool1_3x3_s2", "conv2_relu_3x3"), 4),
        **dict.fromkeys(("pool2_3x3_s2", _STAGES["3a"]), 8),
        **dict.fromkeys((_STAGES["3c"], _STAGES["4d"]), 16),
        **dict.fromkeys((_STAGES["4e"], _STAGES["5a"], _STAGES["5b"]), 32),
    }
}
