"""Where a run's noise comes from: a key, or an array."""

import jax
import jax.numpy as jnp

from jaxcv.samplers.choose import check_key

_AXIS = "device"


def of_key(key, shape, dtype):
    """step -> noise [B, ...] of variance 1, a pure function of (key, step, place in the batch).

    Example i of the batch, over all devices, draws from fold_in(fold_in(key, i), step). So a batch
    spread over devices draws what it would on one: under `jit`, and under `pmap` over "device".

    Raises:
        ValueError: not one typed key.
    """
    check_key(key)
    places = _device() * shape[0] + jnp.arange(shape[0])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, places)

    def draw(key, step):
        return jax.random.normal(jax.random.fold_in(key, step), shape[1:], dtype)

    # Drawing costs more than all else in a step: it must not be repeated for each use of the noise.
    return lambda step: jax.lax.optimization_barrier(jax.vmap(draw, (0, None))(keys, step))


def _device():
    """The place of this device among those the batch is mapped over; 0 if it is not."""
    try:
        return jax.lax.axis_index(_AXIS)
    except NameError:
        return 0
