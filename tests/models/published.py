"""Published state dicts against our variables, for tests: names and layouts, both ways."""

import numpy as np
from flax import traverse_util

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def to_variables(state, shapes):
    """Arrays of a state dict in the tree `shapes` (what jax.eval_shape of a model's init gives)."""
    return {
        collection: traverse_util.unflatten_dict(
            {path: _ours(path, state[_key(path)]) for path in traverse_util.flatten_dict(tree)}
        )
        for collection, tree in shapes.items()
    }


def to_state(tree):
    """{published name: array in the published layout} of one collection of variables."""
    flat = traverse_util.flatten_dict(tree)
    return {_key(path): _theirs(path, leaf) for path, leaf in flat.items()}


def _key(path):
    return ".".join((*path[:-1], _LEAVES.get(path[-1], path[-1])))


def _ours(path, array):
    """Of kernels OIHW -> HWIO, and [out, in] -> [in, out]."""
    return np.moveaxis(array, (0, 1), (-1, -2)) if path[-1] == "kernel" else array


def _theirs(path, array):
    return np.moveaxis(np.asarray(array), (-1, -2), (0, 1)) if path[-1] == "kernel" else array
