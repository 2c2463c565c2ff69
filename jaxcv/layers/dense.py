"""Linear layers over `ops.linear`."""

import functools

import flax.linen as nn

from jaxcv import ops


def _product(inputs, kernel, dimension_numbers, precision):
    """As flax asks for it, always over the last axis."""
    del dimension_numbers, precision
    return ops.linear(inputs, kernel)


# Flax's own, whose gradient by the kernel takes a CPU twice as long.
Dense = functools.partial(nn.Dense, dot_general=_product)
