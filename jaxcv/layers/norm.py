"""Normalisation layers with torch's conventions: epsilon 1e-5, variances computed in two passes.

Flax's own epsilon is 1e-6, and its variance E[x^2] - E[x]^2, which loses all digits where the mean
is large. Statistics are float32 or wider whatever the dtype.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv import ops
from jaxcv.layers import device

LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)


class BatchNorm(nn.Module):
    """Batch normalisation, over all axes but the last: [B, ..., C] -> [B, ..., C].

    In training the batch's own mean and biased variance normalise it, and the running statistics
    move towards its mean and *unbiased* variance. Where the axis "device" is bound the batch is
    that of all devices. Parameters: `scale`, `bias` [C]; collection `batch_stats`: `mean`, `var`.

    Raises:
        ValueError: training on one value a channel, whose variance is unknown.

    Source: Ioffe, Szegedy, "Batch normalization", 2015; torch.nn.BatchNorm2d (flax's stores the
        biased variance, and its momentum is 1 minus this one).
    """

    use_running_average: bool | None = None  # normalise by the running statistics; here or per call
    momentum: float = 0.1  # the weight of the new value
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True
    dtype: Any = None  # of the output, by default the widest of input and parameters
    scale_init: Callable = nn.initializers.ones_init()
    bias_init: Callable = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, inputs, use_running_average=None):
        use_running_average = nn.merge_param(
            "use_running_average", self.use_running_average, use_running_average
        )
        shape = inputs.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        scale, bias = _scale_and_bias(self, shape)

        wide = _wide(inputs)
        if use_running_average:
            multiplier = jax.lax.rsqrt(running_var.value + self.epsilon)
            if scale is not None:
                multiplier *= scale
            output = (wide - running_mean.value) * multiplier
            if bias is not None:
                output += bias
        else:
            count = inputs.size // inputs.shape[-1] * device.device_count()
            if count < 2:
                raise ValueError(
                    f"inputs {list(inputs.shape)} have one value a channel: no variance to train"
                    " on. Use a larger batch, or use_running_average=True."
                )
            output, mean, var = ops.batch_norm(
                wide, scale, bias, epsilon=self.epsilon, axis_name=device.device_axis()
            )
            unbiased = var * (count / (count - 1))
            if not self.is_initializing():
                for running, new in ((running_mean, mean), (running_var, unbiased)):
                    running.value += self.momentum * (new - running.value)
        dtype = nn.dtypes.canonicalize_dtype(inputs, scale, bias, dtype=self.dtype)
        return output.astype(dtype)


class GroupNorm(nn.Module):
    """Normalisation of each image's runs of channels: [B, ..., C] -> [B, ..., C].

    Parameters: `scale`, `bias` [C]. Of flax's layer of this name it has neither `group_size` nor
    masks nor other axes.

    Source: `ops.group_norm`'s.
    """

    num_groups: int | None = 32  # None: as many as channels
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True
    dtype: Any = None  # of the output, by default the widest of input and parameters
    scale_init: Callable = nn.initializers.ones_init()
    bias_init: Callable = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, inputs):
        scale, bias = _scale_and_bias(self, inputs.shape[-1:])
        groups = inputs.shape[-1] if self.num_groups is None else self.num_groups
        output = ops.group_norm(_wide(inputs), groups, scale, bias, epsilon=self.epsilon)
        dtype = nn.dtypes.canonicalize_dtype(inputs, scale, bias, dtype=self.dtype)
        return output.astype(dtype)


class InstanceNorm(GroupNorm):
    """Normalisation of each channel of each image, as torch's without scale and bias by default."""

    num_groups: int | None = None
    use_scale: bool = False
    use_bias: bool = False


def _wide(inputs):
    return inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))


def _scale_and_bias(layer, shape):
    """Parameters; None those that the layer does without."""
    scale = layer.param("scale", layer.scale_init, shape) if layer.use_scale else None
    bias = layer.param("bias", layer.bias_init, shape) if layer.use_bias else None
    return scale, bias
