"""What a network costs, counted without running it, for tests."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util


def weight_layers(model, shape):
    """Names of a model's layers that have a kernel, for an image of `shape` [H, W, C]."""
    init = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))
    paths = traverse_util.flatten_dict(init["params"])
    return [".".join(path[:-1]) for path in paths if path[-1] == "kernel"]


def multiplications(module, shape):
    """Multiplications of each convolution and matrix product of a module, largest first: ints.

    Args:
        module: called with one array.
        shape: of that array.
    """
    x = jnp.zeros(shape)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    return sorted(_costs(jax.make_jaxpr(module.apply)(variables, x).jaxpr), reverse=True)


def _costs(jaxpr):
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in ("conv_general_dilated", "dot_general"):
            left, right = (variable.aval.shape for variable in equation.invars)
            output = np.prod(equation.outvars[0].aval.shape)
            if name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                seen = np.prod([left[axis] for axis in contracted])
            else:
                _, *window = equation.params["dimension_numbers"].rhs_spec
                seen = np.prod([right[axis] for axis in window])
            yield int(output * seen)
        for inner in jax.tree.leaves(
            equation.params, is_leaf=lambda leaf: isinstance(leaf, jax.extend.core.ClosedJaxpr)
        ):
            if isinstance(inner, jax.extend.core.ClosedJaxpr):
                yield from _costs(inner.jaxpr)
