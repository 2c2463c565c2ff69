"""Which file holds which architecture, and how a name becomes a module."""

import dataclasses
import difflib
import fnmatch
import importlib
import math
import numbers
import typing

import jax.numpy as jnp

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
    "efficientnet_b0": "efficientnet",
    "efficientnet_b1": "efficientnet",
    "efficientnet_b2": "efficientnet",
    "efficientnet_b3": "efficientnet",
    "efficientnet_b4": "efficientnet",
    "efficientnet_b5": "efficientnet",
    "efficientnet_b6": "efficientnet",
    "efficientnet_b7": "efficientnet",
    "efficientnet_v2_s": "efficientnet",
    "efficientnet_v2_m": "efficientnet",
    "efficientnet_v2_l": "efficientnet",
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
    "mobilenetv1_100": "mobilenet_v1",
    "mobilenetv1_125": "mobilenet_v1",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
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
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet50": "resnet",
    "resnet101": "resnet",
    "resnet152": "resnet",
    "resnext50_32x4d": "resnet",
    "resnext101_32x8d": "resnet",
    "resnext101_64x4d": "resnet",
    "wide_resnet50_2": "resnet",
    "wide_resnet101_2": "resnet",
    "resnet20": "resnet_cifar",
    "resnet32": "resnet_cifar",
    "resnet44": "resnet_cifar",
    "resnet56": "resnet_cifar",
    "resnet110": "resnet_cifar",
    "legacy_seresnet50": "senet",
    "legacy_seresnet101": "senet",
    "legacy_seresnet152": "senet",
    "legacy_seresnext26_32x4d": "senet",
    "legacy_seresnext50_32x4d": "senet",
    "legacy_seresnext101_32x4d": "senet",
    "shufflenet_v2_x0_5": "shufflenet_v2",
    "shufflenet_v2_x1_0": "shufflenet_v2",
    "shufflenet_v2_x1_5": "shufflenet_v2",
    "shufflenet_v2_x2_0": "shufflenet_v2",
    "squeezenet1_0": "squeezenet",
    "squeezenet1_1": "squeezenet",
    "swin_t": "swin",
    "swin_s": "swin",
    "swin_b": "swin",
    "swin_v2_t": "swin",
    "swin_v2_s": "swin",
    "swin_v2_b": "swin",
    "vgg11": "vgg",
    "vgg11_bn": "vgg",
    "vgg13": "vgg",
    "vgg13_bn": "vgg",
    "vgg16": "vgg",
    "vgg16_bn": "vgg",
    "vgg19": "vgg",
    "vgg19_bn": "vgg",
    "vit_b_16": "vit",
    "vit_b_32": "vit",
    "vit_l_16": "vit",
    "vit_l_32": "vit",
    "vit_h_14": "vit",
    "vit_tiny_patch16_224": "vit",
    "vit_small_patch16_224": "vit",
    "vit_small_patch32_224": "vit",
    "vit_base_patch16_224": "vit",
    "vit_base_patch32_224": "vit",
    "vit_large_patch16_224": "vit",
    "vit_large_patch32_224": "vit",
    "legacy_xception": "xception",
}


def available(pattern="*"):
    """Names that `create` knows, in the table's order: those that match the shell-style pattern."""
    return [name for name in _FILES if fnmatch.fnmatchcase(name, pattern)]


def create(name, **overrides):
    """The linen module of an architecture: its published settings, some attributes replaced.

    Args:
        name: one of `available()`.
        **overrides: attributes of the module (`num_classes`, `dtype`, ...) and their values. Lists
            are taken for tuples.

    Returns:
        A module for `init(key, image)` and `apply(variables, image, train=False)`. The latter
        returns a dict: `logits`, `stages` (feature maps by name) and what the architecture has
        besides.

    Raises:
        ValueError: the name is unknown, or an override is no attribute of the module, has another
            type or is out of its range.
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
    for override in overrides:
        if override not in attributes:
            raise ValueError(
                f"{override}: no attribute of model {name}, which has {', '.join(attributes)}."
            )
    published = variant()
    adopted = {
        override: _adopt(name, override, attributes[override], value, getattr(published, override))
        for override, value in overrides.items()
    }
    return variant(**adopted)


# Float attributes that may be 0, and tuples that may not hold 0, unlike others of their kind.
_MAY_BE_ZERO = ("layer_scale", "se_ratio", "w_a")
_ABOVE_ZERO = ("widths", "num_heads", "stem")


def _adopt(model, attribute, kind, value, published):
    """An attribute's value as the module takes it: numbers are Python's, lists tuples.

    Args:
        model: its name, for the message.
        attribute: its name.
        kind: its annotation.
        value: of the attribute.
        published: the variant's own value; a tuple may hold what this one holds.
    """

    def check(fits, expected):
        if not fits:
            raise ValueError(f"{attribute} of model {model} must be {expected}, got {value!r}.")

    if attribute == "dtype":
        check(_is_floating(value), "None or a floating dtype (jnp.bfloat16, say)")
        return None if value is None else jnp.dtype(value)
    or_none = ""
    if type(None) in typing.get_args(kind):
        if value is None:
            return None
        kind, or_none = typing.get_args(kind)[0], " or None"
    if kind is int:
        check(_is_int(value) and value >= 1, f"an int of at least 1{or_none}")
        return int(value)
    if kind is float:
        expected, fits = _range(attribute)
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        check(number and fits(value), f"a number {expected}")
        return float(value)
    if kind is tuple:
        check(isinstance(value, (tuple, list)), "a tuple or list")
        parts, kinds = _parts(value), {type(part) for part in _parts(published)}
        held = " or ".join(sorted(kind.__name__ for kind in kinds))
        check({type(part) for part in parts} <= kinds, f"a tuple of {held}, as {published!r}")
        least = 1 if attribute in _ABOVE_ZERO else 0
        check(
            all(part >= least for part in parts if _is_int(part)),
            f"a tuple whose numbers are at least {least}",
        )
        return _tuple(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    check(isinstance(value, kind), f"a {module}{kind.__name__}")
    return value


def _range(attribute):
    """(words, function of a number) for the numbers that a float attribute may have."""
    if attribute.startswith("drop"):
        return "in [0, 1)", lambda number: 0 <= number < 1
    if attribute == "norm_momentum":
        return "in [0, 1]", lambda number: 0 <= number <= 1
    if attribute in _MAY_BE_ZERO:
        return "of at least 0", lambda number: 0 <= number < math.inf
    return "above 0", lambda number: 0 < number < math.inf


def _is_floating(value):
    try:
        return value is None or jnp.issubdtype(jnp.dtype(value), jnp.floating)
    except TypeError:  # no dtype at all
        return False


def _is_int(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _tuple(value):
    """Lists as tuples at every depth: what a module holds must be hashable."""
    return tuple(map(_tuple, value)) if isinstance(value, (tuple, list)) else value


def _parts(value):
    """[what nested tuples and lists hold, one after the other]."""
    if not isinstance(value, (tuple, list)):
        return [value]
    return [part for item in value for part in _parts(item)]
