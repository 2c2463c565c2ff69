"""A small U-Net to measure with; `peer_unet.py` has it in torch."""

import functools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxcv import layers


class Block(nn.Module):
    """Two convolutions of a residual block, told the time in between."""

    features: int

    @nn.compact
    def __call__(self, x, time):
        conv = functools.partial(layers.Conv, self.features, padding=1, kernel_size=3)
        norm = functools.partial(layers.GroupNorm, num_groups=8)
        h = conv(name="conv1")(nn.silu(norm(name="norm1")(x)))
        h = h + layers.Dense(self.features, name="time")(nn.silu(time))[:, None, None]
        h = conv(name="conv2")(nn.silu(norm(name="norm2")(h)))
        if x.shape[-1] != self.features:
            x = layers.Conv(self.features, kernel_size=1, name="skip")(x)
        return x + h


class UNet(nn.Module):
    """Three levels of 32, 64 and 128 channels: (x [B, H, W, 3], t [B]) -> [B, H, W, 3]."""

    @nn.compact
    def __call__(self, x, t):
        frequencies = jnp.exp(-np.log(10_000) / 32 * jnp.arange(32))
        angles = t[:, None] * frequencies
        time = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], 1)
        time = layers.Dense(128, name="time2")(nn.silu(layers.Dense(128, name="time1")(time)))
        conv = functools.partial(layers.Conv, kernel_size=3, padding=1)
        top = Block(32, name="down0")(conv(32, name="first")(x), time)
        middle = Block(64, name="down1")(conv(64, strides=2, name="shrink0")(top), time)
        x = Block(128, name="down2")(conv(128, strides=2, name="shrink1")(middle), time)
        x = Block(64, name="up1")(jnp.concatenate([_enlarged(x), middle], -1), time)
        x = Block(32, name="up0")(jnp.concatenate([_enlarged(x), top], -1), time)
        return conv(3, name="last")(nn.silu(layers.GroupNorm(num_groups=8, name="norm")(x)))


def _enlarged(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)
