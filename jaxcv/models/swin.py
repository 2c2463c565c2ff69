"""Swin Transformer. Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo, "Swin Transformer: hierarchical vision
transformer using shifted windows", ICCV 2021; Liu et al., "Swin Transformer V2: scaling up capacity
and resolution", CVPR 2022.

Attention inside windows of M x M tokens, every second block with windows moved by M / 2, on four
stages of half the sides and twice the channels each: 56, 28, 14, 7 at 224 pixels. On the first
stage of Swin-T (56x56 tokens, 96 channels, M = 7) that multiplies 145,108,992 times, attention over
all tokens 2,003,828,736 times. Parameters with 1000 classes:

    swin_t 28,288,354      swin_s 49,606,258      swin_b 87,768,224
    swin_v2_t 28,351,570   swin_v2_s 49,737,442   swin_v2_b 87,930,848

V2 compares queries with keys by their cosine, gets the position bias from a small network and has
the norms behind the branches.

Reads torchvision's checkpoints: features.0.0, features.1.0.attn.qkv, ..., features.2.reduction,
..., norm, head. Differs from the paper as torchvision does: a map that windows do not fill is
padded with zeros, which take part in attention, and an axis that one window covers is not moved
along (the authors' code does both too).
Weights start truncated normal with deviation 0.02, the patches' and V2's as torchvision's: the
patches uniform within +-fan-in^-1/2, V2's MLP Xavier uniform with biases of deviation 1e-6.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import layers, ops

_normal = nn.initializers.truncated_normal(0.02)
_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class SwinTransformer(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is. Any H and W from 4 up.

    Stages: features.0 (patches), features.1, 3, 5, 7 (blocks), features.2, 4, 6 (merged patches),
    norm.
    """

    embed_dim: int = 96  # C: channels of the first stage
    depths: tuple = (2, 2, 6, 2)  # blocks of each stage
    num_heads: tuple = (3, 6, 12, 24)
    window_size: int = 7  # M
    mlp_ratio: int = 4
    v2: bool = False
    num_classes: int = 1000
    dropout: float = 0.0  # after each linear layer but qkv's
    drop_path: float = 0.2  # of the last block, rising linearly from 0
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters are float32

    @nn.compact
    def __call__(self, image, train=False):
        if len(self.depths) != len(self.num_heads):
            raise ValueError(
                f"depths and num_heads must have one entry a stage, got {self.depths} and"
                f" {self.num_heads}."
            )
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        block = nn.remat(Block) if self.remat else Block
        conv = functools.partial(layers.Conv, kernel_init=_uniform, dtype=self.dtype)
        patches = conv(self.embed_dim, 4, strides=4, name="features.0.0")
        x = norm(name="features.0.2")(patches(image))  # [B, H / 4, W / 4, C]
        stages = {"features.0": x}
        done = 0
        for depth, heads in zip(self.depths, self.num_heads):
            if done:
                name = f"features.{len(stages)}"
                x = stages[name] = PatchMerging(norm, v2=self.v2, dtype=self.dtype, name=name)(x)
            stage = f"features.{len(stages)}"
            for i in range(depth):
                x = block(
                    heads,
                    self.window_size,
                    norm,
                    shift=self.window_size // 2 if i % 2 else 0,
                    mlp_ratio=self.mlp_ratio,
                    v2=self.v2,
                    dropout=self.dropout,
                    drop_path=self.drop_path * done / max(sum(self.depths) - 1, 1),
                    deterministic=not train,
                    dtype=self.dtype,
                    name=f"{stage}.{i}",
                )(x)
                done += 1
            stages[stage] = x
        x = stages["norm"] = norm(name="norm")(x)
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        head = layers.Dense(self.num_classes, kernel_init=_normal, name="head")
        return {"logits": head(x.mean((1, 2))), "stages": stages}


class Block(nn.Module):
    """Attention in windows and MLP, each added to its input: [B, H, W, C] -> [B, H, W, C].

    Figure 3 (b) of the paper; of V2 figure 1.
    """

    heads: int
    window_size: int
    norm: Callable
    shift: int = 0
    mlp_ratio: int = 4
    v2: bool = False
    dropout: float = 0.0
    drop_path: float = 0.0
    deterministic: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        drop = layers.Dropout(self.dropout, deterministic=self.deterministic)
        norms = [self.norm(name="norm1"), self.norm(name="norm2")]
        attention = (CosineWindowAttention if self.v2 else WindowAttention)(
            self.heads, self.window_size, self.shift, dtype=self.dtype, name="attn"
        )
        branches = [lambda x: drop(attention(x)), functools.partial(self._mlp, drop=drop)]
        for branch, norm in zip(branches, norms):
            y = norm(branch(x)) if self.v2 else branch(norm(x))
            drop_path = layers.DropPath(self.drop_path, deterministic=self.deterministic)
            x = layers.residual(x, drop_path(y))
        return x

    def _mlp(self, x, drop):
        init = {"kernel_init": _normal}
        if self.v2:
            init = {
                "kernel_init": nn.initializers.xavier_uniform(),
                "bias_init": nn.initializers.normal(1e-6),
            }
        dense = functools.partial(layers.Dense, dtype=self.dtype, **init)
        y = dense(self.mlp_ratio * x.shape[-1], name="mlp.0")(x)
        y = drop(jax.nn.gelu(y, approximate=False))
        return drop(dense(x.shape[-1], name="mlp.3")(y))


class WindowAttention(nn.Module):
    """Attention among the M x M tokens of each window: [B, H, W, C] -> [B, H, W, C].

    Windows begin at multiples of M less `shift`. Those at the border then hold tokens from both
    ends of the map, which do not see each other. A bias depends on the distance of two tokens.
    """

    heads: int
    window_size: int  # M
    shift: int = 0
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        channels, size = x.shape[-1], self.window_size
        dense = functools.partial(layers.Dense, kernel_init=_normal, dtype=self.dtype)
        table = self.param(
            "relative_position_bias_table", _normal, ((2 * size - 1) ** 2, self.heads)
        )
        windows = _Windows(x.shape, size, self.shift)
        x = windows.cut(x)
        qkv = dense(3 * channels, name="qkv")(x)
        y, _ = layers.dot_product_attention(
            *_heads(qkv, self.heads), bias=_pairs(table, self) + windows.mask()
        )
        return windows.join(dense(channels, name="proj")(y.reshape(x.shape)))


class CosineWindowAttention(nn.Module):
    """`WindowAttention` of V2: [B, H, W, C] -> [B, H, W, C].

    The similarity of query and key is their cosine times a factor of at most 100, and the bias is
    computed from the logarithm of the distance. Section 3.2 and 3.3 of the V2 paper.
    """

    heads: int
    window_size: int  # M
    shift: int = 0
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        dense = functools.partial(layers.Dense, kernel_init=_normal)
        hidden = nn.relu(dense(512, name="cpb_mlp.0")(relative_coords_table(self)))
        table = dense(self.heads, use_bias=False, name="cpb_mlp.2")(hidden)
        table = 16 * nn.sigmoid(table.reshape(-1, self.heads))
        start = nn.initializers.constant(np.log(10))
        logit_scale = self.param("logit_scale", start, (self.heads, 1, 1))

        windows = _Windows(x.shape, self.window_size, self.shift)
        x = windows.cut(x)
        qkv = _KeysUnbiased(channels, dtype=self.dtype, name="qkv")(x)
        query, key, value = _heads(qkv, self.heads)
        y, _ = layers.dot_product_attention(
            _unit(query),
            _unit(key),
            value,
            bias=_pairs(table, self) + windows.mask(),
            scale=jnp.exp(jnp.minimum(logit_scale, np.log(100))),
        )
        y = y.reshape(x.shape)
        return windows.join(dense(channels, dtype=self.dtype, name="proj")(y))


class _KeysUnbiased(nn.Module):
    """The linear layer of V2's queries, keys and values: [..., C] -> [..., 3 C].

    The keys' third of its bias counts as zero.
    """

    channels: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", _normal, (x.shape[-1], 3 * self.channels))
        bias = self.param("bias", nn.initializers.zeros, (3 * self.channels,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return ops.linear(x, kernel) + bias * np.repeat(
            np.array([1, 0, 1], bias.dtype), self.channels
        )


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the channels: [B, H, W, C] -> [B, H/2, W/2, 2C].

    Odd sides are padded by zeros. Section 3.1 of the paper.
    """

    norm: Callable
    v2: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        _, height, width, channels = x.shape
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        offsets = ((0, 0), (1, 0), (0, 1), (1, 1))
        x = jnp.concatenate([x[:, row::2, column::2] for row, column in offsets], axis=-1)
        norm = self.norm(name="norm")
        reduction = layers.Dense(
            2 * channels, use_bias=False, kernel_init=_normal, dtype=self.dtype, name="reduction"
        )
        return norm(reduction(x)) if self.v2 else reduction(norm(x))


def relative_position_index(attention):
    """Row of the bias table for each pair of tokens of a window: [M^4] int64."""
    side = np.arange(attention.window_size)
    difference = side[:, None] - side + len(side) - 1  # [M, M], 0..2M - 2
    rows = difference[:, None, :, None] * (2 * len(side) - 1)
    return (rows + difference[None, :, None, :]).reshape(-1)


def relative_coords_table(attention):
    """Logarithmic distances of V2: [1, 2M - 1, 2M - 1, 2] float32, within +-log2(9) / 3.

    Source: equation 4 of the V2 paper, scaled as in the authors' code.
    """
    reach = attention.window_size - 1
    steps = np.arange(-reach, reach + 1, dtype=np.float32) / max(reach, 1) * 8
    steps = np.sign(steps) * np.log2(np.abs(steps) + 1) / 3
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)[None]


class _Windows:
    """How a map [B, H, W, C], padded at bottom and right, is cut into windows."""

    def __init__(self, shape, size, shift):
        self.shape, self.size = shape, size
        self.padding = [-side % size for side in shape[1:3]]
        self.sides = [side + more for side, more in zip(shape[1:3], self.padding)]
        # What one window covers is not moved.
        self.shifts = [shift if side > size else 0 for side in self.sides]

    def cut(self, x):
        """[B, H, W, C] -> [B, N, M^2, C]."""
        rows, columns = self.padding
        x = jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)))
        return self._partition(jnp.roll(x, [-shift for shift in self.shifts], (1, 2)))

    def join(self, x):
        """[B, N, M^2, C] -> [B, H, W, C]."""
        (batch, height, width, channels), size = self.shape, self.size
        rows, columns = (side // size for side in self.sides)
        x = x.reshape(batch, rows, columns, size, size, channels)
        x = x.swapaxes(2, 3).reshape(batch, *self.sides, channels)
        return jnp.roll(x, self.shifts, (1, 2))[:, :height, :width]

    def mask(self):
        """-100 for two tokens from different ends of the map: [N, 1, M^2, M^2] float32, or 0."""
        if not any(self.shifts):
            return 0
        ends = [np.arange(side) >= side - shift for side, shift in zip(self.sides, self.shifts)]
        region = 2 * ends[0][:, None] + ends[1]  # [H, W], of the moved map
        region = self._partition(region[None, :, :, None])[0, ..., 0]  # [N, M^2]
        apart = region[:, :, None] != region[:, None]
        return np.where(apart, np.float32(-100), np.float32(0))[:, None]

    def _partition(self, x):
        (rows, columns), size = (side // self.size for side in self.sides), self.size
        x = x.reshape(len(x), rows, size, columns, size, -1).swapaxes(2, 3)
        return x.reshape(len(x), rows * columns, size * size, -1)


def _heads(qkv, heads):
    """[B, N, M^2, 3 C] -> queries, keys and values, [B, N, M^2, heads, C / heads] each."""
    parts = jnp.split(qkv, 3, axis=-1)
    return [part.reshape(*part.shape[:-1], heads, -1) for part in parts]


def _pairs(table, attention):
    """A table's rows for each pair of tokens: [(2 M - 1)^2, heads] -> [heads, M^2, M^2]."""
    tokens = attention.window_size**2
    index = relative_position_index(attention).reshape(tokens, tokens)
    return table[index].transpose(2, 0, 1)


def _unit(x):
    """Vectors of length 1, of zeros zeros, with finite gradients."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-24))


_swin_t = functools.partial(SwinTransformer, depths=(2, 2, 6, 2), drop_path=0.2)
_swin_s = functools.partial(SwinTransformer, depths=(2, 2, 18, 2), drop_path=0.3)
_swin_b = functools.partial(
    SwinTransformer,
    embed_dim=128,
    depths=(2, 2, 18, 2),
    num_heads=(4, 8, 16, 32),
    drop_path=0.5,
)

VARIANTS = {
    "swin_t": _swin_t,
    "swin_s": _swin_s,
    "swin_b": _swin_b,
    "swin_v2_t": functools.partial(_swin_t, window_size=8, v2=True),
    "swin_v2_s": functools.partial(_swin_s, window_size=8, v2=True),
    "swin_v2_b": functools.partial(_swin_b, window_size=8, v2=True),
}

# Pixels of the image from one of the map to the next.
STRIDES = {
    name: {
        **{"features.0": 4, "features.1": 4, "features.2": 8, "features.3": 8},
        **{"features.4": 16, "features.5": 16, "features.6": 32, "features.7": 32, "norm": 32},
    }
    for name in VARIANTS
}

# Buffers of the checkpoint that follow from the window's size.
STATE_DICT = {
    "derived": {
        WindowAttention: {"relative_position_index": relative_position_index},
        CosineWindowAttention: {
            "relative_position_index": relative_position_index,
            "relative_coords_table": relative_coords_table,
        },
    }
}
