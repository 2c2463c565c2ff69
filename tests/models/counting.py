"""What tests count in networks, from shapes alone: parameters, kernels, layers in a row."""

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal

from jaxcv import models

_WEIGHTED = ("conv_general_dilated", "dot_general")


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
