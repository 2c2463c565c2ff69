"""Which file holds which architecture, and how a name becomes a module."""

import dataclasses
import difflib
import fnmatch
import importlib

# Name -> file beside this one, imported on first use: listing names loads no architecture.
_FILES = {
    "alexnet": "alexnet",
    "alexnet_2012": "alexnet",
    "bninception": "bninception",
    "convnext_tiny": "convnext",
    "convnext_small": "convnext",
    "convnext_base": "convnext",
    "convnext_large": "convnext",
    "densenet121": "densenet",
    "densenet161": "densenet",
    "densenet169": "densenet",
    "densenet201": "densenet",
    "googlenet": "googlenet",
    "googlenet_2014": "googlenet",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lenet5": "lenet",
    "lenet5_1998": "lenet",
    "mnasnet0_5": "mnasnet",
    "mnasnet0_75": "mnasnet",
    "mnasnet1_0": "mnasnet",
    "mnasnet1_3": "mnasnet",
    "regnet_x_400mf": "regnet",
    "regnet_x_800mf": "regnet",
    "regnet_x_1_6gf": "regnet",
    "regnet_x_3_2gf": "regnet",
    "regnet_x_8gf": "regnet",
    "regnet_x_16gf": "regnet",
    "regnet_x_32gf": "regnet",
    "regnet_y_400mf": "regnet",
    "regnet_y_800mf": "regnet",
    "regnet_y_1_6gf": "regnet",
    "regnet_y_3_2gf": "regnet",
    "regnet_y_8gf": "regnet",
    "regnet_y_16gf": "regnet",
    "regnet_y_32gf": "regnet",
    "regnet_y_128gf": "regnet",
    "resnet20": "resnet_cifar",
    "resnet32": "resnet_cifar",
    "resnet44": "resnet_cifar",
    "resnet56": "resnet_cifar",
    "resnet110": "resnet_cifar",
    "shufflenet_v2_x0_5": "shufflenet_v2",
    "shufflenet_v2_x1_0": "shufflenet_v2",
    "shufflenet_v2_x1_5": "shufflenet_v2",
    "shufflenet_v2_x2_0": "shufflenet_v2",
    "squeezenet1_0": "squeezenet",
    "squeezenet1_1": "squeezenet",
    "vgg11": "vgg",
    "vgg11_bn": "vgg",
    "vgg13": "vgg",
    "vgg13_bn": "vgg",
    "vgg16": "vgg",
    "vgg16_bn": "vgg",
    "vgg19": "vgg",
    "vgg19_bn": "vgg",
    "legacy_xception": "xception",
}


def available(pattern="*"):
    """Names that `create` knows, in the table's order: those that match the shell-style pattern."""
    return [name for name in _FILES if fnmatch.fnmatchcase(name, pattern)]


def create(name, **overrides):
    """The linen module of an architecture: its published settings, some attributes replaced.

    Args:
        name: one of `available()`.
        **overrides: attributes of the module (`num_classes`, `dtype`, ...) and their values.

    Returns:
        A module for `init(key, image)` and `apply(variables, image, train=False)`. The latter
        returns a dict: `logits`, `stages` (feature maps by name) and what the architecture has
        besides.

    Raises:
        ValueError: the name is unknown, or an override is no attribute of the module or has
            another type.
    """
    if name not in _FILES:
        near = difflib.get_close_matches(name, _FILES) or list(_FILES)
        raise ValueError(
            f"name: there is no model {name!r}. Nearest: {', '.join(near)}."
            " models.available() lists all."
        )
    file = importlib.import_module(f"jaxcv.models.{_FILES[name]}")
    variant = file.VARIANTS[name]
    # parent and name belong to linen, which adds them to every module.
    fields = dataclasses.fields(variant.func)
    attributes = {
        field.name: field.type for field in fields if field.name not in ("parent", "name")
    }
    for override, value in overrides.items():
        if override not in attributes:
            raise ValueError(
                f"{override}: no attribute of model {name}, which has {', '.join(attributes)}."
            )
        kind = attributes[override]
        if kind in (bool, int, str, tuple) and not isinstance(value, kind):
            raise ValueError(f"{override} of model {name} must be {kind.__name__}, got {value!r}.")
    return variant(**overrides)
