"""What tests count in networks, from shapes alone: parameters, layers, multiplications."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.extend.core import ClosedJaxpr, Literal

from jaxcv import models

_WEIGHTED = ("conv_forward", "dot_general")


def parameters(name, image_shape=(1, 224, 224, 3), **overrides):
    """Number of parameters of a model of `models.create`."""
    shapes = _variables(models.create(name, **overrides), image_shape)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def kernels(name, image_shape=(1, 224, 224, 3), **overrides):
    """[(height, width), ...] of the kernels of all convolutions."""
    shapes = _variables(models.create(name, **overrides), image_shape)
    return [leaf.shape[:2] for leaf in jax.tree.leaves(shapes["params"]) if leaf.ndim == 4]


def stages(name, image_shape, **overrides):
    """{name: shape} of a model's stages."""
    model = models.create(name, **overrides)
    outputs = jax.eval_shape(model.apply, _variables(model, image_shape), jnp.zeros(image_shape))
    return {stage: output.shape for stage, output in outputs["stages"].items()}


def depth(name, image_shape, **overrides):
    """Convolutions and linear layers on the longest way from the image to the logits."""
    model = models.create(name, **overrides)
    image = jnp.zeros(image_shape)
    variables = _variables(model, image_shape)
    traced = jax.make_jaxpr(lambda v: model.apply(v, image)["logits"])(variables)
    return _longest(traced.jaxpr)


def weight_layers(model, shape):
    """Names of a model's layers that have a kernel, for an image of `shape` [H, W, C]."""
    paths = traverse_util.flatten_dict(_variables(model, (1, *shape))["params"])
    return [".".join(path[:-1]) for path in paths if path[-1] == "kernel"]


def multiplications(module, shape):
    """Multiplications of each convolution and matrix product of a module, largest first: ints.

    Args:
        module: called with one array.
        shape: of that array.
    """
    traced = jax.make_jaxpr(module.apply)(_variables(module, shape), jnp.zeros(shape))
    return sorted(_costs(traced.jaxpr), reverse=True)


def _variables(model, image_shape):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(image_shape))


def _longest(jaxpr):
    lengths = {}  # of the ways to a variable
    for equation in jaxpr.eqns:
        own = int(equation.primitive.name in _WEIGHTED)
        for parameter in equation.params.values():
            if isinstance(parameter, ClosedJaxpr):
                own = max(own, _longest(parameter.jaxpr))
        before = [lengths.get(v, 0) for v in equation.invars if not isinstance(v, Literal)]
        lengths |= dict.fromkeys(equation.outvars, max(before, default=0) + own)
    return max(lengths.get(v, 0) for v in jaxpr.outvars if not isinstance(v, Literal))


def _costs(jaxpr):
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in _WEIGHTED:
            left, right = (variable.aval.shape for variable in equation.invars)
            output = np.prod(equation.outvars[0].aval.shape)
            if name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                seen = np.prod([left[axis] for axis in contracted])
            else:
                seen = np.prod(right[:-1])  # of the kernel [h, w, in, out]
            yield int(output * seen)
        for inner in jax.tree.leaves(
            equation.params, is_leaf=lambda leaf: isinstance(leaf, ClosedJaxpr)
        ):
            if isinstance(inner, ClosedJaxpr):
                yield from _costs(inner.jaxpr)
