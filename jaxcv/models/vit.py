"""Vision Transformer. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image
recognition at scale", ICLR 2021.

The image is cut into patches, each a token by one linear map; a class token is put before them,
position embeddings are added, and L blocks of attention and MLP follow. 224 pixels in patches of 16
give 197 tokens. Names end in the patch's side; Ti and S are of Touvron et al., "Training
data-efficient image transformers", ICML 2021. Parameters with 1000 classes at 224 pixels:

    vit_b_16 86,567,656    vit_l_16 304,326,632   vit_h_14 632,045,800
    vit_b_32 88,224,232    vit_l_32 306,535,400
    vit_tiny_patch16_224 5,717,416
    vit_small_patch16_224 22,050,664   vit_small_patch32_224 22,878,952
    vit_base_patch16_224 86,567,656    vit_base_patch32_224 88,224,232
    vit_large_patch16_224 304,326,632  vit_large_patch32_224 306,535,400

`vit_b_16` to `vit_h_14` read torchvision's checkpoints (conv_proj, encoder.layers.encoder_layer_0.
self_attention.in_proj_weight, ..., heads.head), the others timm's (patch_embed.proj,
blocks.0.attn.qkv, ..., head).
Differs from the paper: no hidden layer in the head, which the paper has in pre-training; no dropout
unless asked for. Stochastic depth is of Touvron 2021.
Weights start as torchvision's: patches truncated normal with variance 1 / fan-in, position
embeddings normal with deviation 0.02, queries, keys, values and MLP Xavier uniform, the output of
attention uniform within +-fan-in^-1/2, class token and head zeros, the MLP's biases normal with
deviation 1e-6.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv import layers, ops

_xavier = nn.initializers.xavier_uniform()


@dataclasses.dataclass(frozen=True)
class Names:
    """What a checkpoint calls the parts; {} stands for the block's index."""

    patches: str  # the convolution that embeds them
    patch_stage: str  # its output
    token: str
    position: str
    embedded: str  # the sequence with class token and position embedding
    block: str
    norm1: str
    qkv: str
    attended: str  # the linear map behind the attention
    norm2: str
    mlp1: str
    mlp2: str
    norm: str
    head: str


TORCHVISION = Names(
    patches="conv_proj",
    patch_stage="conv_proj",
    token="class_token",
    position="encoder.pos_embedding",
    embedded="encoder.dropout",
    block="encoder.layers.encoder_layer_{}",
    norm1="ln_1",
    qkv="self_attention",
    attended="self_attention.out_proj",
    norm2="ln_2",
    mlp1="mlp.0",
    mlp2="mlp.3",
    norm="encoder.ln",
    head="heads.head",
)
TIMM = Names(
    patches="patch_embed.proj",
    patch_stage="patch_embed",
    token="cls_token",
    position="pos_embed",
    embedded="norm_pre",
    block="blocks.{}",
    norm1="norm1",
    qkv="attn.qkv",
    attended="attn.proj",
    norm2="norm2",
    mlp1="mlp.fc1",
    mlp2="mlp.fc2",
    norm="norm",
    head="head",
)


class VisionTransformer(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages, under the layout's names: the embedded patches, [B, H / P, W / P, D] for torchvision's
    and [B, patches, D] for timm's layout; the sequence [B, tokens, D] before the first block,
    after each, and after the last norm; and `map` [B, H / P, W / P, D], the last without its class
    token.

    Images of other sides than `image_size` get position embeddings interpolated (bicubic, with
    antialiasing, as timm does), from which nothing is learnt about the sizes between.

    The attention maps [B, heads, tokens, tokens] of each block, rows adding up to 1, are
    "intermediates", there on request:

        outputs, state = model.apply(variables, image, mutable=["intermediates"])
        state["intermediates"]["blocks.0"]["attention"][0]
    """

    patch_size: int = 16  # P
    depth: int = 12  # L
    hidden_size: int = 768  # D
    mlp_size: int = 3072
    heads: int = 12
    image_size: int = 224  # height and width that the position embeddings are stored for
    pool: str = "token"  # what is classified: a class token or, without one, "gap", the mean of all
    names: Names = TORCHVISION
    num_classes: int = 1000
    dropout: float = 0.0  # after the position embedding and each linear layer but qkv's
    drop_path: float = 0.0  # of the last block, rising linearly from 0
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters are float32

    @nn.compact
    def __call__(self, image, train=False):
        grid = _grid(self, image)
        names = self.names
        x = layers.Conv(
            self.hidden_size,
            self.patch_size,
            strides=self.patch_size,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
            name=names.patches,
        )(image)  # [B, H / P, W / P, D]: a linear map of each patch
        tokens = x.reshape(len(x), -1, self.hidden_size)
        stages = {names.patch_stage: tokens if names is TIMM else x}
        x = self._embed(tokens, grid)
        x = layers.Dropout(self.dropout, deterministic=not train)(x)
        stages[names.embedded] = x
        block = nn.remat(Block) if self.remat else Block
        for i in range(self.depth):
            name = names.block.format(i)
            x = stages[name] = block(
                self.heads,
                self.mlp_size,
                names,
                dropout=self.dropout,
                drop_path=self.drop_path * i / max(self.depth - 1, 1),
                deterministic=not train,
                dtype=self.dtype,
                name=name,
            )(x)
        x = _norm(names.norm, self.dtype)(x)
        patches = x[:, -tokens.shape[1] :]
        stages |= {names.norm: x, "map": patches.reshape(len(x), *grid, -1)}
        x = x[:, 0] if self.pool == "token" else patches.mean(1)
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        head = layers.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name=names.head)
        return {"logits": head(x), "stages": stages}

    def _embed(self, tokens, grid):
        """Class token and position embedding: [B, N, D] -> [B, 1 + N, D]."""
        extra = int(self.pool == "token")
        side = self.image_size // self.patch_size
        position = self.param(
            self.names.position,
            nn.initializers.normal(0.02),
            (1, extra + side * side, self.hidden_size),
        )
        position = _resampled(position, grid, extra=extra)
        if extra:
            shape = (1, 1, self.hidden_size)
            token = self.param(self.names.token, nn.initializers.zeros, shape).astype(tokens.dtype)
            token = jnp.broadcast_to(token, (len(tokens), *shape[1:]))
            tokens = jnp.concatenate([token, tokens], axis=1)
        return tokens + position.astype(tokens.dtype)

    def resample(self, position):
        """Position embeddings of another `image_size` as `__call__` makes them for the model's own.

        [1, tokens, D] -> [1, tokens of the model, D] float32.
        """
        side = self.image_size // self.patch_size
        return _resampled(jnp.float32(position), (side, side), extra=int(self.pool == "token"))

    def can_resample(self, shape):
        """Whether a shape is that of position embeddings of some `image_size`.

        Up to 256 patches a side: no more is read into memory on the word of a file.
        """
        extra = int(self.pool == "token")
        shapes = [(1, extra + side * side, self.hidden_size) for side in range(1, 257)]
        return tuple(shape) in shapes


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to its input: [B, N, D] -> [B, N, D].

    Equations 2 and 3 of the paper.
    """

    heads: int
    mlp_size: int
    names: Names
    dropout: float = 0.0
    drop_path: float = 0.0
    deterministic: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        names = self.names
        dropout = layers.Dropout(self.dropout, deterministic=self.deterministic)
        drop_path = layers.DropPath(self.drop_path, deterministic=self.deterministic)

        project = TorchProjection if names is TORCHVISION else layers.Dense
        project = project(3 * width, kernel_init=_xavier, dtype=self.dtype, name=names.qkv)
        qkv = project(_norm(names.norm1, self.dtype)(x))
        # Queries, keys and values stand one after the other, in each all heads.
        qkv = qkv.reshape(*x.shape[:2], 3, self.heads, width // self.heads)
        y, attention = layers.dot_product_attention(*(qkv[:, :, i] for i in range(3)))
        self.sow("intermediates", "attention", attention)
        uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        attended = layers.Dense(width, kernel_init=uniform, dtype=self.dtype, name=names.attended)
        x = layers.residual(x, drop_path(dropout(attended(y.reshape(x.shape)))))

        dense = functools.partial(
            layers.Dense,
            kernel_init=_xavier,
            bias_init=nn.initializers.normal(1e-6),
            dtype=self.dtype,
        )
        y = dense(self.mlp_size, name=names.mlp1)(_norm(names.norm2, self.dtype)(x))
        y = dropout(jax.nn.gelu(y, approximate=False))
        return layers.residual(x, drop_path(dropout(dense(width, name=names.mlp2)(y))))


class TorchProjection(nn.Module):
    """A linear layer [..., C] -> [..., features] named and laid out as in torch's attention.

    Parameters: `in_proj_weight` [features, C], `in_proj_bias` [features].

    Source: torch.nn.MultiheadAttention.
    """

    features: int
    kernel_init: Callable = _xavier
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        weight = self.param("in_proj_weight", self.kernel_init, (self.features, x.shape[-1]))
        bias = self.param("in_proj_bias", nn.initializers.zeros, (self.features,))
        x, weight, bias = nn.dtypes.promote_dtype(x, weight, bias, dtype=self.dtype)
        return ops.linear(x, weight.T) + bias


def _resampled(position, grid, *, extra):
    """[1, extra + side^2, D] -> [1, extra + height width, D], the first `extra` tokens as they are.

    Source: timm's resample_abs_pos_embed. (torchvision's interpolate_embeddings aligns corners.)
    """
    side = math.isqrt(position.shape[1] - extra)
    if grid == (side, side):
        return position
    stored = position[0, extra:].reshape(side, side, -1)
    resized = ops.resize(stored, grid, mode="bicubic", antialias=True)
    resized = resized.reshape(1, -1, position.shape[-1])
    return jnp.concatenate([position[:, :extra], resized], axis=1)


def _norm(name, dtype):
    return layers.LayerNorm(epsilon=1e-6, dtype=dtype, name=name)


def _grid(model, image):
    """Patches from top to bottom and from left to right."""
    if model.pool not in ("token", "gap"):
        raise ValueError(f'pool must be "token" or "gap", got {model.pool!r}.')
    if model.hidden_size % model.heads:
        raise ValueError(
            f"hidden_size must be a multiple of the {model.heads} heads, got {model.hidden_size}."
        )
    height, width = image.shape[1:3]
    side = model.patch_size
    if height % side or width % side or not height * width:
        raise ValueError(
            f"image must have sides divisible by the patch's {side}, got {list(image.shape)}."
            " Resize or crop it."
        )
    return height // side, width // side


_tiny = functools.partial(VisionTransformer, hidden_size=192, mlp_size=768, heads=3)
_small = functools.partial(VisionTransformer, hidden_size=384, mlp_size=1536, heads=6)
_base = functools.partial(VisionTransformer, hidden_size=768, mlp_size=3072, heads=12)
_large = functools.partial(VisionTransformer, depth=24, hidden_size=1024, mlp_size=4096, heads=16)
_huge = functools.partial(VisionTransformer, depth=32, hidden_size=1280, mlp_size=5120, heads=16)

VARIANTS = {
    "vit_b_16": functools.partial(_base, patch_size=16),
    "vit_b_32": functools.partial(_base, patch_size=32),
    "vit_l_16": functools.partial(_large, patch_size=16),
    "vit_l_32": functools.partial(_large, patch_size=32),
    "vit_h_14": functools.partial(_huge, patch_size=14),
    "vit_tiny_patch16_224": functools.partial(_tiny, patch_size=16, names=TIMM),
    "vit_small_patch16_224": functools.partial(_small, patch_size=16, names=TIMM),
    "vit_small_patch32_224": functools.partial(_small, patch_size=32, names=TIMM),
    "vit_base_patch16_224": functools.partial(_base, patch_size=16, names=TIMM),
    "vit_base_patch32_224": functools.partial(_base, patch_size=32, names=TIMM),
    "vit_large_patch16_224": functools.partial(_large, patch_size=16, names=TIMM),
    "vit_large_patch32_224": functools.partial(_large, patch_size=32, names=TIMM),
}

# Pixels of the image from one of the map to the next; the other stages are sequences.
STRIDES = {name: {"map": variant.keywords["patch_size"]} for name, variant in VARIANTS.items()}

# Keys of torchvision 0.12.
STATE_DICT = {"renamed": {r"\.mlp\.linear_1\.": ".mlp.0.", r"\.mlp\.linear_2\.": ".mlp.3."}}
