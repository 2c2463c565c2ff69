"""How an op is called outside of `jit`."""

import functools
import inspect

import jax
import numpy as np


def one_program(*static):
    """Decorates an op: outside of `jit` it is compiled once, and not operation by operation.

    In a notebook the first call then compiles one program for dozens, later ones dispatch one, and
    loops within are not compiled again at every call. Under `jit` nothing changes.

    Args:
        *static: names of the arguments that are numbers, strings or sequences of them. An op to
            which one is given as a JAX array (a trace's, say) runs as it is written.
    """

    def decorate(op):
        program = jax.jit(op, static_argnames=static, inline=True)
        signature = inspect.signature(op)

        @functools.wraps(op)
        def called(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            options = {name: bound.arguments[name] for name in static if name in bound.arguments}
            if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(options)):
                return op(*args, **kwargs)
            bound.arguments.update({name: _hashable(option) for name, option in options.items()})
            return program(*bound.args, **bound.kwargs)

        return called

    return decorate


def _hashable(option):
    if isinstance(option, np.ndarray):
        option = option.tolist()
    return tuple(map(_hashable, option)) if isinstance(option, (list, tuple)) else option
