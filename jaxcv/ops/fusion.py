"""Where the compiler must not join computations."""

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import AxisType


def apart(function, *arguments):
    """`function(*arguments)`, on a CPU not fused with what comes before and after.

    XLA there fuses a sum of shifted slices with what made the image, and works out the image anew
    for each slice. What pads an image belongs outside: it is fused with what made it, once.
    Outside of a trace nothing is fused, and this is the function alone. It is that too for arrays
    over an explicit mesh, which no single value may be taken of.
    """

    def separate(*arguments):
        # A branch that is always taken, which the compiler cannot know. (A barrier does not do.)
        always = _always_p.bind(jax.lax.stop_gradient(jax.tree.leaves(arguments)[0]))
        results = jax.eval_shape(function, *arguments)
        zeros = lambda *_: jax.tree.map(jnp.zeros_like, results)  # noqa: E731
        return jax.lax.cond(always, function, zeros, *arguments)

    leaves = jax.tree.leaves(arguments)
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
    if not traced or not all(leaf.size for leaf in leaves) or any(map(is_sharded, leaves)):
        return function(*arguments)
    return jax.lax.platform_dependent(*arguments, cpu=separate, default=function)


def is_sharded(array):
    """Whether its type says how it lies on devices."""
    return is_sharded_type(jax.typeof(array))


def is_sharded_type(type_):
    """`is_sharded` of arrays of this type, as `jax.typeof` gives it."""
    return AxisType.Explicit in type_.sharding.mesh.axis_types


def _not_infinite(values):
    """True: [...] -> [], from the first of the values."""
    return ~(jax.lax.slice_in_dim(values.reshape(-1), 0, 1)[0] > jnp.inf)


# A primitive, as one truth holds for all items of `vmap`, which would compute both branches else.
_always_p = Primitive("always")
_always_p.def_impl(jax.jit(_not_infinite))
_always_p.def_abstract_eval(lambda values: jax.core.ShapedArray((), bool))
mlir.register_lowering(_always_p, mlir.lower_fun(_not_infinite, multiple_results=False))
batching.primitive_batchers[_always_p] = lambda values, _: (_always_p.bind(*values), None)
