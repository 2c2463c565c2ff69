import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden
from tests.meets import assert_meets

FILE = "ops/layers.npz"


@pytest.mark.parametrize(
    "case", golden.cases(FILE, "torch.nn.functional.local_response_norm"), ids=lambda c: c.name
)
def test_local_response_norm_equals_torch(case):
    def function(inputs):
        output = ops.local_response_norm(jnp.moveaxis(inputs["input"], 1, -1), **case.arguments)
        return (jnp.moveaxis(output, -1, 1),)

    assert_meets(case, function)


@pytest.mark.parametrize(
    "case", golden.cases(FILE, "torch.nn.functional.normalize"), ids=lambda c: c.name
)
def test_normalize_equals_torch(case):
    def function(inputs):
        return (jnp.moveaxis(ops.normalize(jnp.moveaxis(inputs["input"], 1, -1)), -1, 1),)

    assert_meets(case, function)


def test_normalize_has_a_finite_gradient_at_zero():
    zero = jnp.zeros((2, 3))
    np.testing.assert_array_equal(ops.normalize(zero), zero)
    gradient = jax.grad(lambda x: ops.normalize(x, epsilon=1e-3).sum())(zero)
    np.testing.assert_allclose(gradient, np.full((2, 3), 1e3), rtol=1e-6)


def test_local_response_norm_by_hand():
    # One channel of 3 neighbours: 2 / (1 + 3/3 (1 + 4 + 9))^1.
    got = ops.local_response_norm(jnp.array([1.0, 2, 3]), size=3, alpha=3.0, beta=1.0)
    np.testing.assert_allclose(got, [1 / 6, 2 / 15, 3 / 14], rtol=1e-6)


def test_local_response_norm_refuses_size_zero():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        ops.local_response_norm(jnp.ones(3), size=0)
