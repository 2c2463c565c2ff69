"""PReLU, and that what jax offers is what torch computes: models use jax's own activations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers
from tests import golden
from tests.meets import assert_meets

FILE = "ops/layers.npz"

OURS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hardswish": jax.nn.hard_swish,
    "hardsigmoid": jax.nn.hard_sigmoid,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "gelu_none": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "elu_1.0": jax.nn.elu,
    "elu_0.5": functools.partial(jax.nn.elu, alpha=0.5),
    "selu": jax.nn.selu,
    "celu_0.7": functools.partial(jax.nn.celu, alpha=0.7),
    "softplus": jax.nn.softplus,
    "logsigmoid": jax.nn.log_sigmoid,
}

# At these inputs jax takes the slope of the other side.
KINKS = {
    "hardtanh": (jax.nn.hard_tanh, [-1, 1]),
    "leaky_relu_0.1": (functools.partial(jax.nn.leaky_relu, negative_slope=0.1), [0]),
}

SOFTMAX = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}


def cases(names):
    found = golden.cases(FILE)
    return [case for case in found if getattr(case, "name", None) in names] or found[:1]


@pytest.mark.parametrize("case", cases(OURS | SOFTMAX), ids=lambda c: c.name)
def test_activations_of_jax_equal_torch(case):
    function = (OURS | SOFTMAX)[case.name]
    assert_meets(case, lambda inputs: (function(inputs["input"]),))


@pytest.mark.parametrize("case", cases(KINKS), ids=lambda c: c.name)
def test_activations_of_jax_equal_torch_but_for_the_slope_at_a_kink(case):
    function, kinks = KINKS[case.name]
    value, pullback = jax.vjp(function, case.inputs["input"])
    (gradient,) = pullback(jnp.asarray(case.inputs["cotangent"]))
    smooth = ~np.isin(case.inputs["input"], kinks)
    golden.assert_close(value, case.outputs["output"], case.error["output"])
    golden.assert_close(gradient[smooth], case.outputs["grad_input"][smooth])
    np.testing.assert_array_equal(gradient[~smooth], case.inputs["cotangent"][~smooth])


@pytest.mark.parametrize("case", cases(["prelu"]), ids=lambda c: c.name)
def test_prelu_equals_torch(case):
    def function(inputs):
        variables = {"params": {"negative_slope": inputs["weight"]}}
        output = layers.PReLU().apply(variables, jnp.moveaxis(inputs["input"], 1, -1))
        return (jnp.moveaxis(output, -1, 1),)

    assert_meets(case, function)


def test_prelu_starts_at_a_quarter_for_each_channel():
    output, variables = layers.PReLU().init_with_output(jax.random.key(0), jnp.array([[-4.0, 2]]))
    np.testing.assert_array_equal(output, [[-1, 2]])
    assert variables["params"]["negative_slope"].shape == (2,)
