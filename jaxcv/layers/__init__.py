"""Flax modules shared by several architectures, and the keys of the examples of a batch.

Activations are jax's own (`jax.nn`), `gelu` with `approximate=False`.
"""

from jaxcv.layers.activation import PReLU
from jaxcv.layers.conv import Conv, ConvTranspose
from jaxcv.layers.crf import CRFasRNN
from jaxcv.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from jaxcv.layers.randomness import Dropout, DropPath, example_keys

__all__ = [
    "BatchNorm",
    "CRFasRNN",
    "Conv",
    "ConvTranspose",
    "DropPath",
    "Dropout",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "PReLU",
    "example_keys",
]
