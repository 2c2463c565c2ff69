"""Particles that walk at random, and entropy: why what has spread does not gather again."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.samplers.choose import check_key, check_whole


def random_walk(positions, *, steps, key):
    """Where particles are that go one to either side along each axis in every step.

    Args:
        positions: [N, D] signed int, where N particles start in D dimensions.
        steps: how many.
        key: typed key.

    Returns:
        [steps + 1, N, D] int, the start included.

    Raises:
        ValueError: positions that are not [N, D] signed int, another key.
    """
    check_whole(0, steps=steps)
    check_key(key)
    positions = jnp.asarray(positions)
    if positions.ndim != 2 or not jnp.issubdtype(positions.dtype, jnp.signedinteger):
        raise ValueError(
            f"positions must be [N, D] signed int, got {list(positions.shape)} {positions.dtype}."
        )
    moves = jax.random.bernoulli(key, shape=(steps, *positions.shape)).astype(positions.dtype)
    return positions + jnp.concatenate([0 * positions[None], jnp.cumsum(2 * moves - 1, axis=0)])


def walk_entropy(steps):
    """Entropy in nats of where such a particle is along one axis after `steps`: a float.

    The place is binomial, and its entropy grows as 0.5 ln(pi e steps / 2).
    """
    check_whole(0, steps=steps)
    logarithms = np.concatenate([[0], np.cumsum(np.log(np.arange(1, steps + 1)))])  # of factorials
    log_p = logarithms[-1] - logarithms - logarithms[::-1] - steps * np.log(2)
    return float(-np.sum(np.exp(log_p) * log_p))


def entropy(weights):
    """Entropy in nats of weights as a distribution: [...] of at least 0 -> a scalar.

    Their sum is taken as 1. Of an image: how evenly its light is spread. A weight of 0 adds 0, and
    its gradient is finite; so with all of them 0. What rounding leaves below 0 counts as 0.

    Raises:
        ValueError: weights that are not floating.
    """
    weights = jnp.asarray(weights)
    if not jnp.issubdtype(weights.dtype, jnp.floating):
        raise ValueError(f"weights must be floating, got {weights.dtype}.")
    weights = jnp.where(weights < 0, 0, weights)
    total = jnp.sum(weights)
    p = weights / jnp.where(total == 0, 1, total)
    return jnp.sum(jnp.where(p > 0, -p * jnp.log(jnp.where(p > 0, p, 1)), 0))


def gaussian_entropy(variance):
    """Entropy in nats of a Gaussian: 0.5 ln(2 pi e variance), elementwise."""
    return 0.5 * jnp.log(2 * jnp.pi * jnp.e * jnp.asarray(variance))
