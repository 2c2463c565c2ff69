"""Linear layers over `ops.linear`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv import ops


def _product(inputs, kernel, dimension_numbers, precision):
    """As flax asks for it, over the last axis."""
    if precision is not None or not jnp.issubdtype(inputs.dtype, jnp.floating):
        return jax.lax.dot_general(inputs, kernel, dimension_numbers, precision=precision)
    return ops.linear(inputs, kernel)


class Dense(nn.Dense):
    """Flax's linear layer, whose gradient by the kernel takes a CPU half the time.

    To policies of `jax.checkpoint` it is a convolution, not a dot.
    """

    dot_general: Any = _product
