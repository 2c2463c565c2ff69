"""Where the compiler must not join computations."""

import jax
import jax.numpy as jnp


def apart(function, *arguments):
    """`function(*arguments)`, on a CPU not fused with what comes before and after.

    XLA there fuses a sum of shifted slices with what made the image, and works out the image anew
    for each slice. What pads an image belongs outside: it is fused with what made it, once.
    """

    def separate(*arguments):
        # A branch that is always taken, which the compiler cannot know. (A barrier does not do.)
        some = jax.tree.leaves(arguments)[0]
        always = ~(jax.lax.slice_in_dim(some.reshape(-1), 0, 1)[0] > jnp.inf)
        results = jax.eval_shape(function, *arguments)
        zeros = lambda *_: jax.tree.map(jnp.zeros_like, results)  # noqa: E731
        return jax.lax.cond(always, function, zeros, *arguments)

    if not all(leaf.size for leaf in jax.tree.leaves(arguments)):
        return function(*arguments)
    return jax.lax.platform_dependent(*arguments, cpu=separate, default=function)
