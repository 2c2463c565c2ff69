"""ConvNeXt. Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, "A ConvNet for the 2020s", CVPR 2022,
figure 4 and table 9.

A ResNet made like a Swin transformer: patches of 4x4, depthwise 7x7 convolutions (a kernel for each
channel alone), LayerNorm, two linear layers on each pixel (1x1 convolutions) with a GELU between,
four times as wide. Parameters:

    convnext_tiny 28,589,128    convnext_small 50,223,688
    convnext_base 88,591,464    convnext_large 197,767,336

Reads torchvision's checkpoints (features.0.0, ..., features.1.0.block.0, features.1.0.layer_scale,
..., classifier.0, classifier.2). Differs from the paper: nothing known. GELU is exact, epsilon of
LayerNorm 1e-6. Weights start normal with deviation 0.02, biases at 0, layer scales at 1e-6.
"""

import functools
from typing import Any

import flax.linen as nn

from jaxcv import layers

_normal = nn.initializers.normal(0.02)
_norm = functools.partial(layers.LayerNorm, epsilon=1e-6)


class ConvNeXt(nn.Module):
    """[B, H, W, 3] (224x224, at least 32) -> logits [B, num_classes], float32; stages as STRIDES.

    features.0 is the stem, features.1, 3, 5, 7 are the blocks' outputs, features.2, 4, 6 those of
    the convolutions of stride 2 between them.
    """

    depths: tuple = (3, 3, 9, 3)
    widths: tuple = (96, 192, 384, 768)
    drop_path: float = 0.1  # of the last block; falls linearly to 0 at the first
    layer_scale: float = 1e-6  # at the start
    num_classes: int = 1000
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(layers.Conv, kernel_init=_normal, dtype=self.dtype)
        norm = functools.partial(_norm, dtype=self.dtype)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        last = max(sum(self.depths) - 1, 1)

        x = conv(self.widths[0], 4, strides=4, name="features.0.0")(image)
        x = norm(name="features.0.1")(x)
        stages = {"features.0": x}
        done = 0  # blocks so far
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths)):
            if stage > 0:
                name = f"features.{2 * stage}"
                x = norm(name=f"{name}.0")(x)
                x = stages[name] = conv(width, 2, strides=2, name=f"{name}.1")(x)
            name = f"features.{2 * stage + 1}"
            for i in range(depth):
                rate = self.drop_path * done / last
                x = block(rate, self.layer_scale, self.dtype, name=f"{name}.{i}")(x, train)
                done += 1
            stages[name] = x
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        x = _norm(name="classifier.0")(x.mean((1, 2)))
        logits = layers.Dense(self.num_classes, kernel_init=_normal, name="classifier.2")(x)
        return {"logits": logits, "stages": stages}


class Block(nn.Module):
    """[B, H, W, C] -> [B, H, W, C]: the paper's figure 4."""

    drop_rate: float  # of the whole branch, in training
    layer_scale: float
    dtype: Any = None

    @nn.compact
    def __call__(self, x, train):
        channels = x.shape[-1]
        dense = functools.partial(layers.Dense, kernel_init=_normal, dtype=self.dtype)
        scale = self.param(
            "layer_scale", nn.initializers.constant(self.layer_scale), (channels, 1, 1)
        )
        y = layers.Conv(
            channels,
            7,
            padding=3,
            groups=channels,
            kernel_init=_normal,
            dtype=self.dtype,
            name="block.0",
        )(x)
        y = _norm(dtype=self.dtype, name="block.2")(y)
        y = nn.gelu(dense(4 * channels, name="block.3")(y), approximate=False)
        y = dense(channels, name="block.5")(y)
        y = y * scale[:, 0, 0].astype(y.dtype)
        return layers.residual(x, layers.DropPath(self.drop_rate, deterministic=not train)(y))


VARIANTS = {
    "convnext_tiny": functools.partial(ConvNeXt),
    "convnext_small": functools.partial(ConvNeXt, depths=(3, 3, 27, 3), drop_path=0.4),
    "convnext_base": functools.partial(
        ConvNeXt,
        depths=(3, 3, 27, 3),
        widths=(128, 256, 512, 1024),
        drop_path=0.5,
    ),
    "convnext_large": functools.partial(
        ConvNeXt,
        depths=(3, 3, 27, 3),
        widths=(192, 384, 768, 1536),
        drop_path=0.5,
    ),
}

# Pixels of the image from one of a stage's to the next.
_STRIDES = {f"features.{place}": 4 * 2 ** (place // 2) for place in range(8)}
STRIDES = dict.fromkeys(VARIANTS, _STRIDES)
