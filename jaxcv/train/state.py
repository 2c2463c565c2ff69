"""The state of a run as one tree of arrays, and its three forms: on devices, named, digested."""

import hashlib

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def create(variables, optimizers, *, seed, ema):
    """The state before the first step, on every device.

    Args:
        variables: {"params": ..., other collections}, arrays of any kind.
        optimizers: {player: optax transformation}; see `owned` for what each is given.
        seed: int, of everything random in the steps.
        ema: bool, whether a moving average of the variables is kept.

    Returns:
        {"step": int32 [], "key": uint32 [2], "variables": ..., "optimizer": {player: ...},
        "ema": variables or {}}.
    """
    return replicate(
        {
            "step": np.zeros((), np.int32),
            "key": jax.random.key_data(jax.random.key(seed)),
            "variables": variables,
            "optimizer": {
                player: optimizer.init(owned(variables["params"], player, optimizers))
                for player, optimizer in optimizers.items()
            },
            "ema": variables if ema else {},
        }
    )


def owned(params, player, players):
    """The parameters that `player` trains: all of them if it is the only one of `players`."""
    return params if len(players) == 1 else params[player]


def replicate(tree):
    """The tree with every leaf as one array, whole on every device of every host.

    Leaves that came otherwise would compile the step twice, and break it on two hosts.
    """
    sharding = NamedSharding(_devices(), PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(
            sharding, np.array(leaf), np.shape(leaf)
        ),
        tree,
    )


def shard(tree):
    """The tree of NumPy arrays [local devices, ...] as arrays over all devices of all hosts."""
    sharding = NamedSharding(_devices(), PartitionSpec("device"))
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, leaf), tree)


def to_host(tree):
    """The tree as NumPy arrays of our own: a copy, for a step may take the device's memory back."""
    return jax.tree.map(lambda leaf: np.array(_local(leaf)), tree)


def named(tree):
    """The leaves of the tree as {"/"-joined path: leaf}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def from_named(template, arrays, *, origin):
    """The tree of `template` with the leaves that `arrays` names; leaves without elements may miss.

    Raises:
        ValueError: names, shapes or dtypes differ; `origin` says where the arrays are from.
    """
    wanted = named(template)
    arrays = {name: leaf for name, leaf in wanted.items() if not leaf.size} | arrays
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - arrays.keys())]
    problems += [f"{name} is unknown here" for name in sorted(arrays.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & arrays.keys()):
        want, have = wanted[name], arrays[name]
        if want.shape != have.shape or want.dtype != have.dtype:
            problems.append(
                f"{name} is {have.dtype}{list(have.shape)}, not {want.dtype}{list(want.shape)}"
            )
    if problems:
        shown = "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")
        raise ValueError(
            f"{origin} is of another model or optimiser ({len(problems)} differences): {shown}."
        )
    return jax.tree.unflatten(jax.tree.structure(template), [arrays[name] for name in wanted])


def digest(arrays):
    """sha256 over the sorted names, dtypes, shapes and bytes of {name: array}, as hexadecimals."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(_local(arrays[name]))
        sha.update(f"{name} {array.dtype} {array.shape};".encode())
        sha.update(array.view(np.uint8).data if array.ndim else array.tobytes())
    return sha.hexdigest()


def _devices():
    return Mesh(np.array(jax.devices()), ("device",))


def _local(leaf):
    """This host's copy of a replicated array; anything else as it is."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return leaf.addressable_shards[0].data
    return leaf
