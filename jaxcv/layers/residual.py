"""What a block adds to its input."""

import jax.numpy as jnp

from jaxcv.ops import fusion


def residual(x, y):
    """x + y, two arrays of one shape, on a CPU not fused with what comes before and after.

    Without that XLA computes the sum of all blocks so far, and backwards that of all their
    gradients, anew in each block: a quarter of a training step of ViT-B/16.
    """
    return fusion.apart(jnp.add, x, y)
