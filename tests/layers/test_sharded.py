"""Layers of a batch that lies on two devices, their parameters on both."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxcv import layers

LARGE = (8, 64, 65, 16)  # sums on a CPU go by blocks of rows
CASES = {
    "batch norm": (layers.BatchNorm(use_running_average=False), (4, 2, 2, 6)),
    "batch norm by blocks": (layers.BatchNorm(use_running_average=False), LARGE),
    "group norm": (layers.GroupNorm(2), (4, 2, 2, 6)),
    "dense": (layers.Dense(3), (4, 2, 6)),
    "convolution": (layers.Conv(3, 2), (4, 3, 3, 6)),
}


def gradient_of(name):
    """The gradient by parameters and batch, and these."""
    layer, shape = CASES[name]
    batch = jax.random.normal(jax.random.key(0), shape)
    variables = jax.jit(layer.init)(jax.random.key(1), batch)
    others = {key: value for key, value in variables.items() if key != "params"}

    def loss(params, batch):
        outputs, _ = layer.apply({"params": params} | others, batch, mutable=["batch_stats"])
        return (outputs**3).sum()

    return jax.grad(loss, argnums=(0, 1)), (variables["params"], batch)


def assert_close(got, want):
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(lambda g, w: close(g, w, err_msg=str(w.shape)), jax.device_get(got), want)


@pytest.mark.parametrize("name", CASES)
def test_in_shard_map_gradients_are_those_on_one_device(name):
    gradient, arguments = gradient_of(name)
    mesh = jax.make_mesh((2,), ("device",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))
    spread = jax.shard_map(
        gradient, mesh=mesh, in_specs=(P(), P("device")), out_specs=(P(), P("device"))
    )
    assert_close(jax.jit(spread)(*arguments), jax.jit(gradient)(*arguments))


@pytest.mark.parametrize("name", [name for name in CASES if name != "convolution"])
def test_on_an_explicit_mesh_gradients_are_those_on_one_device(name):
    gradient, (params, batch) = gradient_of(name)
    want = jax.jit(gradient)(params, batch)
    axes = (AxisType.Explicit,)
    mesh = jax.make_mesh((2,), ("device",), devices=jax.devices()[:2], axis_types=axes)
    with jax.set_mesh(mesh):
        arguments = jax.device_put(params, P()), jax.device_put(batch, P("device"))
        assert_close(jax.jit(gradient)(*arguments), want)
