"""Class activation maps. Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning deep features for
discriminative localization", CVPR 2016, section 2.

Where a network ends with global average pooling and one linear layer, the logit of class k is the
mean over positions of sum_c w_ck f_c(x, y), plus a bias: that sum is how much each position speaks
for the class.
"""

import flax.linen as nn
import jax.numpy as jnp


def class_activation_map(features, kernel, classes):
    """What each position adds to the logits of some classes: its mean, plus the bias, is the logit.

    Args:
        features: [H, W, C], the map that is averaged over its positions.
        kernel: [C, K] of the linear layer behind.
        classes: [N] int.

    Returns:
        [N, H, W], of any sign.

    Raises:
        ValueError: the shapes do not fit.

    Source: equation 2 of the paper, times the number of positions, which it leaves out.
    """
    if features.ndim != 3 or kernel.ndim != 2 or features.shape[2] != kernel.shape[0]:
        raise ValueError(
            "features must be [H, W, C] and kernel [C, K], got"
            f" {list(features.shape)} and {list(kernel.shape)}. For a batch, jax.vmap the function."
        )
    return jnp.einsum("hwc,cn->nhw", features, kernel[:, classes])


def pooled_head(model):
    """What `class_activation_map` needs of a model of `models.create`.

    Returns:
        The function (variables, image [B, H, W, C]) -> (features [B, h, w, C], kernel [C, K],
        bias [K]): the last map, the linear layer behind its global average pooling.

    Raises:
        ValueError: the network ends otherwise (linear layers on the flat map, a class token, a norm
            between): it has no such map.
    """
    file = type(model).__module__.rpartition(".")[2]
    if file not in _HEADS:
        raise ValueError(
            f"{type(model).__name__} has no class activation map: it does not end with global"
            " average pooling and one linear layer. Those that do are the networks of"
            f" {', '.join(_HEADS)}."
        )

    def head(variables, image):
        # Called without jit, a model's stages come in the order in which they are made.
        stages = model.apply(variables, image, train=False)["stages"]
        features = [stage for name, stage in stages.items() if name != "avgpool"][-1]
        if file == "densenet":
            features = nn.relu(features)  # its last stage is before the ReLU
        layer = variables["params"][_HEADS[file]]
        return features, layer["kernel"], layer["bias"]

    return head


# File of architectures -> the linear layer behind the pooled map, which is the last of its stages.
_HEADS = {
    "bninception": "last_linear",
    "densenet": "classifier",
    "efficientnet": "classifier.1",
    "googlenet": "fc",
    "inception_resnet_v2": "classif",
    "inception_v3": "fc",
    "inception_v4": "last_linear",
    "mnasnet": "classifier.1",
    "mobilenet_v1": "classifier",
    "mobilenet_v2": "classifier.1",
    "regnet": "fc",
    "resnet": "fc",
    "resnet_cifar": "linear",
    "senet": "last_linear",
    "shufflenet_v2": "fc",
    "swin": "head",
    "xception": "fc",
}
