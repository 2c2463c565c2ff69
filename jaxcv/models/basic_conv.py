"""What GoogLeNet and the Inception networks are built of: a convolution with its norm, branches."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcv import layers

# torch's own for convolutions and linear layers: uniform in +-1 / sqrt(fan_in).
torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class BasicConv(nn.Module):
    """Convolution, batch normalisation, ReLU: [B, H, W, C] -> [B, H', W', features].

    Submodules conv and bn, as torchvision and timm name them. A `kernel_size` of 1 mixes channels
    pixel by pixel, a linear layer at every place (Lin 2014): it makes maps thin before a larger
    kernel. (1, 7) and (7, 1), one after the other, see what 7x7 sees with 2/7 of its weights.
    """

    features: int
    kernel_size: int | Sequence[int]
    use_running_average: bool  # normalise by the running statistics, not the batch's
    strides: int = 1
    padding: Any = "SAME"  # symmetric, these kernels being odd
    width_multiplier: float = 1.0  # of the features
    epsilon: float = 1e-3
    kernel_init: Callable = torch_uniform
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        x = layers.Conv(
            scaled(self.features, self.width_multiplier),
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            use_bias=False,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="conv",
        )(x)
        norm = layers.BatchNorm(
            self.use_running_average, epsilon=self.epsilon, dtype=self.dtype, name="bn"
        )
        return nn.relu(norm(x))


class Branches(nn.Module):
    """Branches side by side: [B, H, W, C] -> [B, H', W', C']. See `concatenate_branches`."""

    branches: tuple
    conv: Callable

    @nn.compact
    def __call__(self, x):
        return concatenate_branches(x, self.branches, self.conv)


def concatenate_branches(x, branches, conv):
    """Outputs of the branches side by side, in the scope of the module that calls this.

    A branch is a tuple of steps, a step a function (a pool) or the numbers of a convolution:
    (features, kernel size), which keeps the size, or (features, kernel size, strides, padding).
    Step j of branch i is named branchI.J, and branchI if it is the only one, as timm names them.
    """
    outputs = []
    for i, steps in enumerate(branches):
        y = x
        for j, step in enumerate(steps):
            if callable(step):
                y = step(y)
            else:
                name = f"branch{i}.{j}" if len(steps) > 1 else f"branch{i}"
                features, kernel_size, *strided = step
                options = dict(zip(("strides", "padding"), strided))
                y = conv(features, kernel_size, **options, name=name)(y)
        outputs.append(y)
    return jnp.concatenate(outputs, -1)


def scaled(features, width_multiplier):
    """A number of features times a multiplier, rounded, at least 1."""
    return max(1, round(features * width_multiplier))


def chain(x, *functions):
    """x through one function after the other."""
    for function in functions:
        x = function(x)
    return x
