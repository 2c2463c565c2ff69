"""ResNet, ResNeXt and Wide ResNet for ImageNet.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016 (arXiv 2015).
Xie, Girshick, Dollar, Tu, He, "Aggregated residual transformations for deep neural networks",
CVPR 2017: ResNeXt. Zagoruyko, Komodakis, "Wide residual networks", BMVC 2016.

Parameters with 1000 classes:

    resnet18  11,689,512   resnet34  21,797,672   resnet50  25,557,032
    resnet101 44,549,160   resnet152 60,192,808
    resnext50_32x4d 25,028,904   resnext101_32x8d 88,791,336   resnext101_64x4d 83,455,272
    wide_resnet50_2 68,883,240   wide_resnet101_2 126,886,696

Reads torchvision's checkpoints: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, ..., fc.
Differs from the paper: the stride of a bottleneck is on its 3x3 convolution, as in torchvision and
Caffe2 ("v1.5"), not on the first 1x1 (`stride_on_first` puts it there).
Convolutions start normal with variance 2 / fan-out, as torchvision's; of the linear layer, which no
ReLU follows, the paper states nothing: variance 1 / fan-in, Flax's default.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxcv import layers, ops

_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ResNet(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages: relu and maxpool of the stem, layer1 to layer4, avgpool [B, 1, 1, C].
    """

    stage_sizes: tuple = (2, 2, 2, 2)  # blocks in layer1, layer2, ...
    bottleneck: bool = False  # blocks of three convolutions with 4 times as many channels behind
    width: int = 64  # channels of the stem, and of the first stage before a bottleneck's factor 4
    cardinality: int = 1  # C of ResNeXt: paths of a bottleneck
    bottleneck_width: int | None = None  # d of ResNeXt: channels of each path in layer1; `width`
    num_classes: int = 1000
    replace_stride_with_dilation: tuple = (False, False, False)  # in layer2, layer3, layer4
    stride_on_first: bool = False  # of a bottleneck's convolutions, as in the paper
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    norm_epsilon: float = 1e-5
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        _check(self)
        conv = functools.partial(layers.Conv, use_bias=False, kernel_init=_normal, dtype=self.dtype)
        norm = functools.partial(
            layers.BatchNorm,
            use_running_average=self.frozen_norm or not train,
            epsilon=self.norm_epsilon,
            dtype=self.dtype,
        )
        make = functools.partial(self._block, conv=conv, norm=norm)

        stages = {}
        x = conv(self.width, kernel_size=7, strides=2, padding=3, name="conv1")(image)
        x = stages["relu"] = nn.relu(norm(name="bn1")(x))
        x = stages["maxpool"] = ops.max_pool(x, window=3, strides=2, padding=1)
        dilation = 1
        for stage, blocks in enumerate(self.stage_sizes):
            strides = 1 if stage == 0 else 2
            before = dilation  # the first block still has the dilation of the stage before
            if stage > 0 and self.replace_stride_with_dilation[stage - 1]:
                dilation, strides = dilation * strides, 1
            for i in range(blocks):
                block = make(
                    stage,
                    strides=strides if i == 0 else 1,
                    dilation=before if i == 0 else dilation,
                    name=f"layer{stage + 1}.{i}",
                )
                x = block(x)
            stages[f"layer{stage + 1}"] = x
        x = stages["avgpool"] = x.mean((1, 2), keepdims=True)
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        return {"logits": layers.Dense(self.num_classes, name="fc")(x[:, 0, 0]), "stages": stages}

    def _block(self, stage, **options):
        kind = Bottleneck if self.bottleneck else BasicBlock
        if self.bottleneck:
            options |= {
                "inner": self.cardinality * (self.bottleneck_width or self.width) * 2**stage,
                "groups": self.cardinality,
                "stride_on_first": self.stride_on_first,
            }
        features = self.width * 2**stage * (4 if self.bottleneck else 1)
        return (nn.remat(kind) if self.remat else kind)(features, **options)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut: [B, H, W, C] -> [B, ceil(H / strides), ..., features].

    `conv` and `norm` make the layers. Figure 5, left, of the paper.
    """

    features: int
    strides: int
    conv: Callable
    norm: Callable
    dilation: int = 1  # more than 1: atrous convolutions, which see farther at the same resolution

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(
            self.conv,
            self.features,
            kernel_size=3,
            padding=self.dilation,
            dilation=self.dilation,
        )
        y = nn.relu(self.norm(name="bn1")(conv(strides=self.strides, name="conv1")(x)))
        y = self.norm(name="bn2")(conv(name="conv2")(y))
        return nn.relu(layers.residual(_shortcut(self, x), y))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and the shortcut, as figure 5, right, of the paper.

    [B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), features]. The 1x1 convolutions change
    the number of channels: the 3x3 one, `groups` side by side, has only `inner`. `conv` and `norm`
    make the layers; `gate`, if given, a module for the branch before it is added.
    """

    features: int
    strides: int
    conv: Callable
    norm: Callable
    inner: int
    groups: int = 1
    dilation: int = 1  # of the 3x3; more than 1: an atrous convolution
    stride_on_first: bool = False  # 1x1 convolution, not on the 3x3
    gate: Callable | None = None

    @nn.compact
    def __call__(self, x):
        first, second = (self.strides, 1) if self.stride_on_first else (1, self.strides)
        y = self.conv(self.inner, kernel_size=1, strides=first, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.conv(
            self.inner,
            kernel_size=3,
            strides=second,
            padding=self.dilation,
            dilation=self.dilation,
            groups=self.groups,
            name="conv2",
        )(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = self.norm(name="bn3")(self.conv(self.features, kernel_size=1, name="conv3")(y))
        if self.gate is not None:
            y = self.gate()(y)
        return nn.relu(layers.residual(_shortcut(self, x), y))


def _shortcut(block, x):
    """The input, or, where its shape is another, a strided 1x1 convolution of it (option B)."""
    if block.strides == 1 and x.shape[-1] == block.features:
        return x
    x = block.conv(block.features, kernel_size=1, strides=block.strides, name="downsample.0")(x)
    return block.norm(name="downsample.1")(x)


def _check(model):
    if len(model.replace_stride_with_dilation) < len(model.stage_sizes) - 1:
        raise ValueError(
            "replace_stride_with_dilation must have an entry for each stage after the first, got"
            f" {model.replace_stride_with_dilation} for {len(model.stage_sizes)} stages."
        )
    if not model.bottleneck and (model.cardinality != 1 or model.bottleneck_width is not None):
        raise ValueError("cardinality and bottleneck_width need bottleneck=True.")


_bottleneck50 = functools.partial(ResNet, stage_sizes=(3, 4, 6, 3), bottleneck=True)
_bottleneck101 = functools.partial(ResNet, stage_sizes=(3, 4, 23, 3), bottleneck=True)

VARIANTS = {
    "resnet18": functools.partial(ResNet, stage_sizes=(2, 2, 2, 2)),
    "resnet34": functools.partial(ResNet, stage_sizes=(3, 4, 6, 3)),
    "resnet50": _bottleneck50,
    "resnet101": _bottleneck101,
    "resnet152": functools.partial(ResNet, stage_sizes=(3, 8, 36, 3), bottleneck=True),
    "resnext50_32x4d": functools.partial(_bottleneck50, cardinality=32, bottleneck_width=4),
    "resnext101_32x8d": functools.partial(_bottleneck101, cardinality=32, bottleneck_width=8),
    "resnext101_64x4d": functools.partial(_bottleneck101, cardinality=64, bottleneck_width=4),
    "wide_resnet50_2": functools.partial(_bottleneck50, bottleneck_width=128),
    "wide_resnet101_2": functools.partial(_bottleneck101, bottleneck_width=128),
}

# Pixels of the image from one of the map to the next; less where a stride is replaced.
STRIDES = {
    name: {"relu": 2, "maxpool": 4, "layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}
    for name in VARIANTS
}
