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
        # To the cache of programs 2 and 2.0 are the same, to the checks of an op they are not.
        def typed(_types, **arguments):
            return op(**arguments)

        typed.__name__ = op.__name__
        program = jax.jit(typed, static_argnames=("_types", *static), inline=True)
        signature = inspect.signature(op)

        @functools.wraps(op)
        def called(*args, **kwargs):
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{op.__name__}() {error}") from None
            options = {name: bound.arguments[name] for name in static if name in bound.arguments}
            if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(options)):
                return op(*args, **kwargs)
            options = {name: _hashable(option) for name, option in options.items()}
            types = tuple(map(type, jax.tree.leaves(options)))
            return program(_types=types, **bound.arguments | options)

        return called

    return decorate


def _hashable(option):
    if isinstance(option, np.ndarray):
        option = option.tolist()
    return tuple(map(_hashable, option)) if isinstance(option, (list, tuple)) else option
