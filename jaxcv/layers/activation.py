"""Activations that jax lacks."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp


class PReLU(nn.Module):
    """x where positive, else slope x with a trained slope for each channel: [..., C] -> [..., C].

    Parameter: `negative_slope` [C], 0.25 at the start. (flax's has one slope for all channels.)

    Source: He et al., "Delving deep into rectifiers", 2015; torch.nn.PReLU(C).
    """

    slope_init: Callable = nn.initializers.constant(0.25)

    @nn.compact
    def __call__(self, inputs):
        slope = self.param("negative_slope", self.slope_init, inputs.shape[-1:])
        return jnp.where(inputs > 0, inputs, slope.astype(inputs.dtype) * inputs)
