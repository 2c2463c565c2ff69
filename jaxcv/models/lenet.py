"""LeNet-5. LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 1998, section II-B.

`lenet5` is the network as taught today (ReLU, max-pooling, softmax): 61,706 parameters.
Differs from the paper: full connections into conv2, trained pooling and RBF outputs left out.
Reads checkpoints with the keys conv1, conv2, fc1, fc2, fc3 (`.weight`, `.bias`).

`lenet5_1998` is the network as published up to layer F6, 60,000 parameters: C1 156, S2 12,
C3 1,516, S4 32, C5 48,120, F6 10,164. Differs from the paper in the output: there, class i has
the distance sum_j (F6_j - w_ij)^2 to a fixed code w_i of +-1, a stylised 7x12 bitmap of the
character (the paper's figure 3), without trained parameters, and the smallest distance wins. The
bitmaps are printed there as a picture alone, so softmax over a linear layer (850 parameters more)
stands in their place. No published checkpoint exists; submodules have the paper's layer names.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import layers, ops

# Table I of the paper: the maps of S2 (0..5) that each of the 16 maps of C3 is connected to.
_C3_INPUTS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


class LeNet5(nn.Module):
    """[B, 28, 28, 1] -> logits [B, num_classes]; stages c1 (stride 2) and c2 (stride 4)."""

    num_classes: int = 10
    dtype: Any = None  # of the computation; parameters and logits are float32

    @nn.compact
    def __call__(self, image, train=False):
        del train  # no dropout, no statistics
        conv = functools.partial(layers.Conv, kernel_size=(5, 5), dtype=self.dtype)
        dense = functools.partial(layers.Dense, dtype=self.dtype)
        pool = functools.partial(ops.max_pool, window=2)

        c1 = pool(nn.relu(conv(6, padding=2, name="conv1")(image)))  # [B, 14, 14, 6]
        c2 = pool(nn.relu(conv(16, name="conv2")(c1)))  # [B, 5, 5, 16]
        x = c2.transpose(0, 3, 1, 2).reshape(len(c2), -1)  # C, H, W: the order fc1's weights expect
        x = nn.relu(dense(120, name="fc1")(x))
        x = nn.relu(dense(84, name="fc2")(x))
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        return {
            "logits": layers.Dense(self.num_classes, name="fc3")(x),
            "stages": {"c1": c1, "c2": c2},
        }


class LeNet5Of1998(nn.Module):
    """[B, 32, 32, 1] -> logits [B, num_classes]; stages c1, s2, c3, s4 (strides 1, 2, 2, 4).

    Images of 28x28 are padded by two pixels, which repeat those of the edge.
    """

    num_classes: int = 10
    dtype: Any = None  # of the computation; parameters and logits are float32

    @nn.compact
    def __call__(self, image, train=False):
        del train  # no dropout, no statistics
        if image.shape[1:] == (28, 28, 1):
            image = jnp.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        if image.shape[1:] != (32, 32, 1):
            raise ValueError(
                "image must be [B, 32, 32, 1] or [B, 28, 28, 1],"
                f" got {list(image.shape)}. Resize it and average its channels."
            )
        conv = functools.partial(layers.Conv, kernel_size=(5, 5), dtype=self.dtype)
        subsample = functools.partial(_Subsample, dtype=self.dtype)

        c1 = _squash(conv(6, kernel_init=_uniform(25), name="c1")(image))  # [B, 28, 28, 6]
        s2 = _squash(subsample(name="s2")(c1))  # [B, 14, 14, 6]
        c3 = _squash(_TableConv(dtype=self.dtype, name="c3")(s2))  # [B, 10, 10, 16]
        s4 = _squash(subsample(name="s4")(c3))  # [B, 5, 5, 16]
        c5 = _squash(conv(120, kernel_init=_uniform(400), name="c5")(s4))  # [B, 1, 1, 120]
        f6 = layers.Dense(84, kernel_init=_uniform(120), dtype=self.dtype, name="f6")(c5[:, 0, 0])
        output = layers.Dense(self.num_classes, kernel_init=_uniform(84), name="output")
        return {
            "logits": output(_squash(f6)),
            "stages": {"c1": c1, "s2": s2, "c3": c3, "s4": s4},
        }


class _Subsample(nn.Module):
    """[B, H, W, C] -> [B, H // 2, W // 2, C]: sums of 2x2, times a trained number, plus another.

    Each channel has its own two.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        coefficient = self.param("coefficient", _uniform(4), (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x, coefficient, bias = nn.dtypes.promote_dtype(x, coefficient, bias, dtype=self.dtype)
        return 4 * ops.avg_pool(x, window=2) * coefficient + bias


class _TableConv(nn.Module):
    """[B, H, W, 6] -> [B, H - 4, W - 4, 16] by 5x5 kernels for the table's 60 connections only."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        source = np.concatenate(_C3_INPUTS)  # [60] maps of S2
        counts = np.array([len(inputs) for inputs in _C3_INPUTS])
        target = np.repeat(np.arange(16), counts)  # [60] maps of C3
        connections = self.param("kernel", _uniform(25 * counts[target]), (5, 5, len(source)))
        bias = self.param("bias", nn.initializers.zeros, (16,))
        x, connections, bias = nn.dtypes.promote_dtype(x, connections, bias, dtype=self.dtype)
        kernel = jnp.zeros((5, 5, 6, 16), connections.dtype)
        return ops.conv(x, kernel.at[:, :, source, target].set(connections)) + bias


def _squash(x):
    """The paper's sigmoid, equation 6: f(1) = 1 and f(-1) = -1."""
    return 1.7159 * jnp.tanh(x * (2 / 3))


def _uniform(fan_in):
    """Initialiser of the paper's appendix A: uniform in +-2.4 / fan_in.

    `fan_in` is a number, or an array with one for each index of the parameter's last axis.
    """

    def draw(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -1, 1) * jnp.asarray(2.4 / fan_in, dtype)

    return draw


VARIANTS = {
    "lenet5": functools.partial(LeNet5),
    "lenet5_1998": functools.partial(LeNet5Of1998),
}

STATE_DICT = {"image": (28, 28, 1)}
