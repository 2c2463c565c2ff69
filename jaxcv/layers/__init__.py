"""Flax modules and functions shared by several architectures; keys of the examples of a batch.

Activations are jax's own (`jax.nn`), `gelu` with `approximate=False`.
"""

from jaxcv.layers.activation import PReLU
from jaxcv.layers.attention import dot_product_attention
from jaxcv.layers.conv import Conv, ConvTranspose
from jaxcv.layers.crf import CRFasRNN
from jaxcv.layers.dense import Dense
from jaxcv.layers.mobile import (
    ConvNorm,
    InvertedResidual,
    SqueezeExcitation,
    round_channels,
)
from jaxcv.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from jaxcv.layers.randomness import Dropout, DropPath, example_keys
from jaxcv.layers.residual import residual

__all__ = [
    "BatchNorm",
    "CRFasRNN",
    "Conv",
    "ConvNorm",
    "ConvTranspose",
    "Dense",
    "DropPath",
    "Dropout",
    "GroupNorm",
    "InstanceNorm",
    "InvertedResidual",
    "LayerNorm",
    "PReLU",
    "SqueezeExcitation",
    "dot_product_attention",
    "example_keys",
    "residual",
    "round_channels",
]
