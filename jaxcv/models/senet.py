"""SE-ResNet and SE-ResNeXt. Hu, Shen, Sun, "Squeeze-and-excitation networks", CVPR 2018.

A gate at the end of each residual branch: the means of its channels go through two 1x1
convolutions (down to a sixteenth and back) and scale them. Parameters with 1000 classes:

    legacy_seresnet50  28,088,024   legacy_seresnext26_32x4d  16,790,280
    legacy_seresnet101 49,326,872   legacy_seresnext50_32x4d  27,559,896
    legacy_seresnet152 66,821,848   legacy_seresnext101_32x4d 48,955,416

Reads timm's checkpoints of these names, the authors' ported from Caffe: layer0.conv1, layer0.bn1,
layer1.0.conv1, layer1.0.se_module.fc1, ..., last_linear.
Differs from the paper: nothing known. The stride of a bottleneck is on its first 1x1 convolution in
SE-ResNet and on the 3x3 one in SE-ResNeXt; the stem's pooling has no padding and rounds up.
Convolutions start normal with variance 2 / fan-out, the linear layer normal with 1 / fan-in.
"""

import functools
from typing import Any

import flax.linen as nn

from jaxcv import layers, ops
from jaxcv.models import atrous, resnet

_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class SENet(nn.Module):
    """[B, H, W, 3] -> logits [B, num_classes], float32 whatever `dtype` is.

    Stages: layer0 and pool0 of the stem, layer1 to layer4.
    """

    stage_sizes: tuple = (3, 4, 6, 3)  # blocks in layer1, layer2, ...
    reduction: int = 16  # r: channels of a block over those between its gate's convolutions
    width: int = 64  # channels of the stem; blocks have 4 times as many behind, doubled each stage
    cardinality: int = 1  # C of ResNeXt: paths of a bottleneck
    bottleneck_width: int | None = None  # d of ResNeXt: channels of each path in layer1; `width`
    stride_on_first: bool = True  # 1x1 convolution of a bottleneck, not on the 3x3
    num_classes: int = 1000
    output_stride: int = 32  # of the last map; 16 or 8: strides beyond become dilations
    frozen_norm: bool = False  # normalise by the running statistics, which stay, in training too
    remat: bool = False  # compute each block again in the backward pass instead of storing it
    dtype: Any = None  # of the computation; parameters and statistics are float32

    @nn.compact
    def __call__(self, image, train=False):
        conv = functools.partial(layers.Conv, use_bias=False, kernel_init=_normal, dtype=self.dtype)
        norm = functools.partial(
            layers.BatchNorm,
            use_running_average=self.frozen_norm or not train,
            dtype=self.dtype,
        )
        block = nn.remat(resnet.Bottleneck) if self.remat else resnet.Bottleneck

        stages = {}
        x = conv(self.width, kernel_size=7, strides=2, padding=3, name="layer0.conv1")(image)
        x = stages["layer0"] = nn.relu(norm(name="layer0.bn1")(x))
        x = stages["pool0"] = ops.max_pool(x, window=3, strides=2, ceil_mode=True)
        total = 4
        for stage, blocks in enumerate(self.stage_sizes):
            features = 4 * self.width * 2**stage
            gate = functools.partial(
                layers.SqueezeExcitation,
                features // self.reduction,
                dtype=self.dtype,
                kernel_init=_normal,
                name="se_module",
            )
            for i in range(blocks):
                published = 2 if stage > 0 and i == 0 else 1
                left, dilation = atrous.strides_and_dilation(
                    published, before=total, output_stride=self.output_stride
                )
                total *= published
                if self.stride_on_first:  # the 3x3 convolution is behind the stride
                    _, dilation = atrous.strides_and_dilation(
                        1, before=total, output_stride=self.output_stride
                    )
                x = block(
                    features,
                    strides=left,
                    dilation=dilation,
                    conv=conv,
                    norm=norm,
                    inner=self.cardinality * (self.bottleneck_width or self.width) * 2**stage,
                    groups=self.cardinality,
                    stride_on_first=self.stride_on_first,
                    gate=gate,
                    name=f"layer{stage + 1}.{i}",
                )(x)
            stages[f"layer{stage + 1}"] = x
        # Without a dtype: in the parameters' precision, so that the loss sees float32 logits.
        head = layers.Dense(self.num_classes, name="last_linear")
        return {"logits": head(x.mean((1, 2))), "stages": stages}


_resnext = functools.partial(SENet, cardinality=32, bottleneck_width=4, stride_on_first=False)

VARIANTS = {
    "legacy_seresnet50": functools.partial(SENet, stage_sizes=(3, 4, 6, 3)),
    "legacy_seresnet101": functools.partial(SENet, stage_sizes=(3, 4, 23, 3)),
    "legacy_seresnet152": functools.partial(SENet, stage_sizes=(3, 8, 36, 3)),
    "legacy_seresnext26_32x4d": functools.partial(_resnext, stage_sizes=(2, 2, 2, 2)),
    "legacy_seresnext50_32x4d": functools.partial(_resnext, stage_sizes=(3, 4, 6, 3)),
    "legacy_seresnext101_32x4d": functools.partial(_resnext, stage_sizes=(3, 4, 23, 3)),
}

# Pixels of the image from one of the map to the next; at most `output_stride`.
STRIDES = {
    name: {"layer0": 2, "pool0": 4, "layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}
    for name in VARIANTS
}
