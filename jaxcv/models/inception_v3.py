"""Inception v3. Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture
for computer vision", CVPR 2016 (arXiv 2015), table 1 and sections 3, 4 and 6.

Inception modules whose larger kernels are factorised: 5x5 to two 3x3 (Mixed_5), 7x7 to 1x7 and 7x1
(Mixed_6), and on the smallest maps 3x3 to 1x3 beside 3x1 (Mixed_7); maps are halved by modules that
convolve and pool side by side. The paper calls the network Inception-v2, and v3 when it is trained
with RMSProp, label smoothing 0.1 (losses.cross_entropy) and batch normalisation in the auxiliary
head. Batch normalisation itself is of 2015 (bninception.py), the stem of branches of v4.

`inception_v3` has 27,161,264 parameters, 23,834,568 without the auxiliary head. Reads torchvision's
checkpoints (Conv2d_1a_3x3.conv, ..., AuxLogits.conv0.conv, ..., Mixed_7c.branch_pool.bn, fc), whose
images are scaled to -1..1. Differs from the paper as these do: Mixed_5 keeps one true 5x5 beside
the two 3x3. Weights start normal with deviation 0.1, as torchvision's, but in the auxiliary head
with 0.01 (conv1) and 0.001 (fc).
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops
from jaxcv.models.basic_conv import BasicConv, chain

_average = functools.partial(ops.avg_pool, window=3, strides=1, padding=1)
_halve = functools.partial(ops.max_pool, window=3, strides=2)
_HEAD_SIZE = 17  # of the smallest map that the auxiliary head takes


class InceptionV3(nn.Module):
    """[B, H, W, 3] (299x299, at least 75) -> logits [B, num_classes], float32; stages as STRIDES.

    aux holds the logits of the head AuxLogits (of Mixed_6e), in evaluation too; it is empty without
    `aux_logits` and on images below 299 pixels, whose maps the head does not fit.
    """

    repeats: tuple = (3, 4, 2)  # modules on maps of stride 8, 16 and 32, the first of each kind
    width_multiplier: float = 1.0  # of all convolutions
    num_classes: int = 1000
    aux_logits: bool = True
    dropout: float = 0.5
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each module again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(
            BasicConv,
            use_running_average=self.frozen_norm or not train,
            width_multiplier=self.width_multiplier,
            kernel_init=nn.initializers.normal(0.1),
            dtype=self.dtype,
        )
        many, more, few = self.repeats
        lift = nn.remat if self.remat else (lambda module: module)

        stages = {}
        x = conv(32, 3, strides=2, padding=0, name="Conv2d_1a_3x3")(image)
        stages["Conv2d_1a_3x3"] = x
        x = conv(32, 3, padding=0, name="Conv2d_2a_3x3")(x)
        x = stages["Conv2d_2b_3x3"] = conv(64, 3, name="Conv2d_2b_3x3")(x)
        x = stages["maxpool1"] = _halve(x)
        x = conv(80, 1, name="Conv2d_3b_1x1")(x)
        x = conv(192, 3, padding=0, name="Conv2d_4a_3x3")(x)
        x = stages["maxpool2"] = _halve(x)
        for letter, pooled in (("b", 32), ("c", 64), ("d", 64))[:many]:
            name = f"Mixed_5{letter}"
            x = stages[name] = lift(InceptionA)(conv, pooled, name=name)(x)
        x = stages["Mixed_6a"] = lift(ReductionA)(conv, name="Mixed_6a")(x)
        for letter, thin in (("b", 128), ("c", 160), ("d", 160), ("e", 192))[:more]:
            name = f"Mixed_6{letter}"
            x = stages[name] = lift(InceptionB)(conv, thin, name=name)(x)
        aux = self._aux(x, conv) if self.aux_logits else {}
        x = stages["Mixed_7a"] = lift(ReductionB)(conv, name="Mixed_7a")(x)
        for name in ("Mixed_7b", "Mixed_7c")[:few]:
            x = stages[name] = lift(InceptionC)(conv, name=name)(x)
        x = layers.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))  # [B, 2048]
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        normal = nn.initializers.normal(0.1)
        logits = layers.Dense(self.num_classes, kernel_init=normal, name="fc")(x)
        return {"logits": logits, "stages": stages, "aux": aux}

    def _aux(self, x, conv):
        head = _AuxiliaryHead(self.num_classes, conv, name="AuxLogits")
        if min(x.shape[1:3]) >= _HEAD_SIZE:
            return {"AuxLogits": head(x)}
        if self.is_initializing():  # the parameters do not depend on the image's size
            head(jnp.zeros((len(x), _HEAD_SIZE, _HEAD_SIZE, x.shape[3]), x.dtype))
        return {}


class InceptionA(nn.Module):
    """[B, H, W, C] -> [B, H, W, 224 + pooled]: figure 5, 5x5 as two 3x3."""

    conv: Callable
    pooled: int

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        branches = [
            conv(64, 1, name="branch1x1")(x),
            chain(x, conv(48, 1, name="branch5x5_1"), conv(64, 5, name="branch5x5_2")),
            chain(
                x,
                conv(64, 1, name="branch3x3dbl_1"),
                conv(96, 3, name="branch3x3dbl_2"),
                conv(96, 3, name="branch3x3dbl_3"),
            ),
            chain(x, _average, conv(self.pooled, 1, name="branch_pool")),
        ]
        return jnp.concatenate(branches, -1)


class ReductionA(nn.Module):
    """[B, H, W, C] -> [B, (H - 1) // 2, (W - 1) // 2, C + 480]: figure 10."""

    conv: Callable

    @nn.compact
    def __call__(self, x):
        halving = functools.partial(self.conv, kernel_size=3, strides=2, padding=0)
        branches = [
            halving(384, name="branch3x3")(x),
            chain(
                x,
                self.conv(64, 1, name="branch3x3dbl_1"),
                self.conv(96, 3, name="branch3x3dbl_2"),
                halving(96, name="branch3x3dbl_3"),
            ),
            _halve(x),
        ]
        return jnp.concatenate(branches, -1)


class InceptionB(nn.Module):
    """[B, H, W, C] -> [B, H, W, 768]: figure 6, 7x7 as 1x7 and 7x1 on `thin` channels."""

    conv: Callable
    thin: int

    @nn.compact
    def __call__(self, x):
        conv, thin = self.conv, self.thin
        branches = [
            conv(192, 1, name="branch1x1")(x),
            chain(
                x,
                conv(thin, 1, name="branch7x7_1"),
                conv(thin, (1, 7), name="branch7x7_2"),
                conv(192, (7, 1), name="branch7x7_3"),
            ),
            chain(
                x,
                conv(thin, 1, name="branch7x7dbl_1"),
                conv(thin, (7, 1), name="branch7x7dbl_2"),
                conv(thin, (1, 7), name="branch7x7dbl_3"),
                conv(thin, (7, 1), name="branch7x7dbl_4"),
                conv(192, (1, 7), name="branch7x7dbl_5"),
            ),
            chain(x, _average, conv(192, 1, name="branch_pool")),
        ]
        return jnp.concatenate(branches, -1)


class ReductionB(nn.Module):
    """[B, H, W, C] -> [B, (H - 1) // 2, (W - 1) // 2, C + 512]: figure 10 with a 7x7."""

    conv: Callable

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        halving = functools.partial(conv, kernel_size=3, strides=2, padding=0)
        branches = [
            chain(x, conv(192, 1, name="branch3x3_1"), halving(320, name="branch3x3_2")),
            chain(
                x,
                conv(192, 1, name="branch7x7x3_1"),
                conv(192, (1, 7), name="branch7x7x3_2"),
                conv(192, (7, 1), name="branch7x7x3_3"),
                halving(192, name="branch7x7x3_4"),
            ),
            _halve(x),
        ]
        return jnp.concatenate(branches, -1)


class InceptionC(nn.Module):
    """[B, H, W, C] -> [B, H, W, 2048]: figure 7, 1x3 beside 3x1 instead of one after the other."""

    conv: Callable

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        one = conv(320, 1, name="branch1x1")(x)
        three = conv(384, 1, name="branch3x3_1")(x)
        three = [
            conv(384, (1, 3), name="branch3x3_2a")(three),
            conv(384, (3, 1), name="branch3x3_2b")(three),
        ]
        double = conv(448, 1, name="branch3x3dbl_1")(x)
        double = conv(384, 3, name="branch3x3dbl_2")(double)
        double = [
            conv(384, (1, 3), name="branch3x3dbl_3a")(double),
            conv(384, (3, 1), name="branch3x3dbl_3b")(double),
        ]
        pooled = chain(x, _average, conv(192, 1, name="branch_pool"))
        return jnp.concatenate([one, *three, *double, pooled], -1)


class _AuxiliaryHead(nn.Module):
    """[B, H, W, C] -> logits [B, num_classes], float32; H and W at least 17."""

    num_classes: int
    conv: Callable

    @nn.compact
    def __call__(self, x):
        conv1 = functools.partial(self.conv, kernel_init=nn.initializers.normal(0.01))
        x = ops.avg_pool(x, window=5, strides=3)
        x = self.conv(128, 1, name="conv0")(x)
        x = conv1(768, 5, padding=0, name="conv1")(x).mean((1, 2))
        normal = nn.initializers.normal(0.001)
        return layers.Dense(self.num_classes, kernel_init=normal, name="fc")(x)


VARIANTS = {"inception_v3": functools.partial(InceptionV3)}

# Pixels of the image from one of a stage's to the next.
STRIDES = {
    "inception_v3": {
        **dict.fromkeys(("Conv2d_1a_3x3", "Conv2d_2b_3x3"), 2),
        "maxpool1": 4,
        **dict.fromkeys(("maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d"), 8),
        **dict.fromkeys((f"Mixed_6{letter}" for letter in "abcde"), 16),
        **dict.fromkeys(("Mixed_7a", "Mixed_7b", "Mixed_7c"), 32),
    }
}

STATE_DICT = {"image": (299, 299, 3), "optional": (r"AuxLogits\..*",)}
