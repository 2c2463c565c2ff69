"""How a model's variables are called and laid out in its published state dict.

The "."-joined path of a variable is its published key but for the last word: kernel, scale and
embedding are called weight, mean and var of batch statistics running_mean and running_var. Kernels
are transposed by the kind of their layer: of convolutions to [out, in / groups, h, w], of
transposed convolutions to [in, out / groups, h, w], of linear layers to [out, in]. Parameters of
other names keep name and layout. Beside every BatchNorm its counter num_batches_tracked may stand.

Where a checkpoint is odd, the file of the model's class says so in a dict STATE_DICT, in which each
word may be left out:

    "image": (299, 299, 3)  [H, W, C] that the model can be called with, by default 224x224x3; of a
        model with an attribute `image_size`, that number of pixels. Where the classes of a file
        differ, {class: [H, W, C]}.
    "renamed": {r"\\.norm\\.1\\.": ".norm1."}  keys of older files: what is replaced in them, by
        re.sub, one after the other. Files are written with the keys of today.
    "derived": {Attention: {"position_index": function}}  buffers of the modules of a class that
        follow from the module's attributes: function(module) -> NumPy array.
    "as_1x1": (r".*\\.fc1\\.weight",)  keys of linear layers stored as 1x1 convolutions.
    "optional": (r"aux1\\..*",)  keys that a file may hold though the model as created has none.
    "version": 2  of the root module, which PyTorch's loader of this model demands in a .pth file.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxcv import layers

_WORDS = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "negative_slope": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_COUNTER = {"num_batches_tracked": lambda module: np.zeros((), np.int64)}
_RULES = ("image", "renamed", "derived", "as_1x1", "optional", "version")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A variable and its place in the state dict."""

    path: tuple  # ("params", "layer1.0", "conv1", "kernel")
    shape: tuple  # in the state dict
    dtype: np.dtype
    axes: tuple  # transpose the variable to this shape, but for axes of size 1 at its end

    def publish(self, array):
        """The variable's value as the state dict holds it."""
        array = np.asarray(array).transpose(self.axes)
        return np.ascontiguousarray(array).reshape(self.shape)

    def adopt(self, array):
        """The state dict's value as the variable holds it."""
        array = np.asarray(array).reshape(self.shape[: len(self.axes)])
        return np.array(array.transpose(np.argsort(self.axes)), self.dtype, order="C")


@dataclasses.dataclass(frozen=True)
class Layout:
    """A model's variables by their published keys, in the order in which the model makes them."""

    entries: Mapping[str, Entry]
    derived: Mapping[str, Callable]  # key -> function without arguments, giving an array
    rules: Mapping[str, object]  # STATE_DICT

    def key_of_today(self, key):
        """The key of a file as the newest files have it."""
        for pattern, replacement in self.rules.get("renamed", {}).items():
            key = re.sub(pattern, replacement, key)
        return key

    def is_optional(self, key):
        """Whether a file may hold the key though the model has no use for it."""
        return _matches(key, self.rules.get("optional", ()))


def layout(model, image_shape=None):
    """The Layout of a model. Nothing is compiled or drawn.

    Args:
        model: a linen module.
        image_shape: [H, W, C] that the model is called with, None for its rules' own.

    Raises:
        ValueError: STATE_DICT has an unknown word, or two variables have one key.
    """
    rules = rules_of(model)
    shapes, modules = _trace(model, example(model, image_shape))
    order = {path: place for place, path in enumerate(modules)}
    ranks = {word: rank for rank, word in enumerate(_WORDS)}
    leaves = traverse_util.flatten_dict(shapes)
    entries, derived = {}, {}
    for path in sorted(leaves, key=lambda path: (order[path[1:-1]], ranks.get(path[-1], -1))):
        key = ".".join((*path[1:-1], _WORDS.get(path[-1], path[-1])))
        if key in entries:
            raise ValueError(f"{path} and {entries[key].path} have the same key: {key}.")
        trailing = 2 * _matches(key, rules.get("as_1x1", ()))
        entries[key] = _entry(path, leaves[path], modules[path[1:-1]], trailing)
    for path, module in modules.items():
        for kind, buffers in {layers.BatchNorm: _COUNTER, **rules.get("derived", {})}.items():
            if isinstance(module, kind):
                for word, function in buffers.items():
                    derived[".".join((*path, word))] = _bind(function, module)
    return Layout(entries, derived, rules)


def example(model, image_shape=None):
    """jax.ShapeDtypeStruct of one image that the model can be called with: [1, H, W, C]."""
    if image_shape is None:
        size = getattr(model, "image_size", 224)
        image_shape = rules_of(model).get("image", {})
        if isinstance(image_shape, dict):
            image_shape = image_shape.get(type(model), (size, size, 3))
    return jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)


def rules_of(model):
    """STATE_DICT of the file of the model's class, {} where it has none."""
    rules = getattr(sys.modules[type(model).__module__], "STATE_DICT", {})
    if unknown := set(rules) - set(_RULES):
        raise ValueError(
            f"STATE_DICT of {type(model).__module__} has {sorted(unknown)}, which must be of"
            f" {', '.join(_RULES)}."
        )
    return rules


def _trace(model, image):
    """(variables' shapes, {path: module} in the order of their first call)."""
    modules = {}

    def record(call, args, kwargs, context):
        modules.setdefault(context.module.path, context.module)
        return call(*args, **kwargs)

    # A function of its own: what jax has traced before it does not call again.
    with nn.intercept_methods(record):
        shapes = jax.eval_shape(
            lambda key, image: model.init(key, image), jax.eval_shape(jax.random.key, 0), image
        )
    return shapes, modules


def _entry(path, leaf, module, trailing):
    axes = tuple(range(len(leaf.shape)))
    if path[-1] == "kernel" and len(axes) > 1:
        *window, inputs, outputs = axes
        if isinstance(module, layers.ConvTranspose):
            inputs, outputs = outputs, inputs
        axes = (outputs, inputs, *window)
    shape = tuple(leaf.shape[axis] for axis in axes) + (1,) * trailing
    return Entry(path, shape, np.dtype(leaf.dtype), axes)


def _matches(key, patterns):
    return any(re.fullmatch(pattern, key) for pattern in patterns)


def _bind(function, module):
    return lambda: function(module)
