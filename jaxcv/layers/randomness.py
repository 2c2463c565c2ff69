"""Layers that draw, each example from a key of its own, and those keys.

A batch over several devices draws what it would draw on one.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv.layers import device


def example_keys(key, batch_size):
    """A key for each example of this device's batch: key -> [batch_size] keys.

    Example i of B on device d gets fold_in(key, d B + i), its place in the global batch; d is 0
    where the axis "device" is unbound. So the keys do not depend on the number of devices.

    Args:
        key: one typed key, the same on every device.
        batch_size: B, of this device.

    Raises:
        ValueError: not one typed key.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.shape:
        raise ValueError(
            f"key must be one typed key, got {key.dtype} {list(key.shape)}: use jax.random.key."
        )
    places = device.device_index() * batch_size + jnp.arange(batch_size)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, places)


class Dropout(nn.Module):
    """Inputs with each element 0 at probability `rate`, else over 1 - rate: [B, ...] -> [B, ...].

    Draws from the stream "dropout". Raises ValueError for a rate outside [0, 1).

    Source: Srivastava et al., "Dropout", JMLR 2014; scaled in training as everyone does.
    """

    rate: float
    deterministic: bool | None = None  # return the inputs as they are; here or per call

    @nn.compact
    def __call__(self, inputs, deterministic=None):
        return _drop(self, inputs, inputs.shape[1:], deterministic)


class DropPath(nn.Module):
    """Inputs with each whole example 0 at probability `rate`, else over 1 - rate: [B, ...] -> same.

    Draws from the stream "dropout". Raises ValueError for a rate outside [0, 1).

    Source: Huang et al., "Deep networks with stochastic depth", 2016; scaled in training as timm's.
    """

    rate: float
    deterministic: bool | None = None  # return the inputs as they are; here or per call

    @nn.compact
    def __call__(self, inputs, deterministic=None):
        return _drop(self, inputs, (1,) * (inputs.ndim - 1), deterministic)


def _drop(layer, inputs, shape, deterministic):
    """Inputs times a mask of `shape` for each example, drawn by `layer`."""
    if not 0 <= layer.rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {layer.rate}.")
    if nn.merge_param("deterministic", layer.deterministic, deterministic) or layer.rate == 0:
        return inputs
    keys = example_keys(layer.make_rng("dropout"), len(inputs))
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - layer.rate, shape))(keys)
    return jnp.where(kept, inputs / (1 - layer.rate), 0)
