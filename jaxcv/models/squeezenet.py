"""SqueezeNet. Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy
with 50x fewer parameters and < 0.5MB model size", 2016, table 1.

Fire modules: 1x1 convolutions make the maps thin ("squeeze") before 1x1 and 3x3 side by side make
them wide again; no linear layer, the last 1x1 convolution gives a map for each class, whose mean
after a ReLU is the logit, so none is negative.

`squeezenet1_0` is the paper's, 1,248,424 parameters; `squeezenet1_1`, of the authors' repository,
pools earlier and takes 2.4 times fewer multiplications: 1,235,496. Reads torchvision's checkpoints
(features.0, ..., features.3.squeeze, ..., classifier.1). Differs from the paper as these do: the
first convolution is not padded. Convolutions start uniform with variance 2 / fan-in (He 2015), the
last normal with deviation 0.01, biases at 0.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers, ops

_he_uniform = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")
_pool = functools.partial(ops.max_pool, window=3, strides=2, ceil_mode=True)


class SqueezeNet(nn.Module):
    """[B, H, W, 3] (224x224, at least 29) -> logits [B, num_classes], float32; stages as STRIDES.

    Stages are features.N, where N counts the first convolution, its ReLU, pools and fire modules.
    """

    stem: tuple = (64, 3)  # features and kernel size of the first convolution
    fires: tuple = ()  # channels that each fire module squeezes to, 0 for a pool
    num_classes: int = 1000
    dropout: float = 0.5
    dtype: Any = None  # of the computation; parameters are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(layers.Conv, kernel_init=_he_uniform, dtype=self.dtype)
        x = nn.relu(conv(*self.stem, strides=2, name="features.0")(image))
        stages = {"features.1": x}
        for place, squeezed in enumerate((0, *self.fires), start=2):
            name = f"features.{place}"
            x = stages[name] = Fire(squeezed, self.dtype, name=name)(x) if squeezed else _pool(x)
        x = layers.Dropout(self.dropout, deterministic=not train)(x)
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        maps = layers.Conv(
            self.num_classes, 1, kernel_init=nn.initializers.normal(0.01), name="classifier.1"
        )
        return {"logits": nn.relu(maps(x)).mean((1, 2)), "stages": stages}


class Fire(nn.Module):
    """[B, H, W, C] -> [B, H, W, 8 squeezed], half of it by 1x1 and half by 3x3 convolutions."""

    squeezed: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(layers.Conv, kernel_init=_he_uniform, dtype=self.dtype)
        x = nn.relu(conv(self.squeezed, 1, name="squeeze")(x))
        wide = [
            conv(4 * self.squeezed, 1, name="expand1x1")(x),
            conv(4 * self.squeezed, 3, padding=1, name="expand3x3")(x),
        ]
        return nn.relu(jnp.concatenate(wide, -1))


VARIANTS = {
    "squeezenet1_0": functools.partial(
        SqueezeNet, stem=(96, 7), fires=(16, 16, 32, 0, 32, 48, 48, 64, 0, 64)
    ),
    "squeezenet1_1": functools.partial(
        SqueezeNet, stem=(64, 3), fires=(16, 16, 0, 32, 32, 0, 48, 48, 64, 64)
    ),
}


def _strides(fires):
    strides, stride = {"features.1": 2}, 2
    for place, squeezed in enumerate((0, *fires), start=2):
        stride *= 1 if squeezed else 2
        strides[f"features.{place}"] = stride
    return strides


# Pixels of the image from one of a stage's to the next.
STRIDES = {name: _strides(variant.keywords["fires"]) for name, variant in VARIANTS.items()}
