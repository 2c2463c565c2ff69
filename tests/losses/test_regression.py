import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import losses
from tests import golden
from tests.losses.reduction import reduced
from tests.meets import assert_meets

OURS = {
    "torch.nn.functional.smooth_l1_loss": losses.smooth_l1,
    "torch.nn.functional.huber_loss": losses.huber,
    "torch.nn.functional.l1_loss": losses.l1,
    "torch.nn.functional.mse_loss": losses.l2,
}


@pytest.mark.parametrize("case", golden.cases("ops/layers.npz", *OURS), ids=lambda c: c.name)
def test_regression_losses_equal_torch(case):
    options = dict(case.arguments)
    reduction = options.pop("reduction", "mean")

    def function(inputs):
        values = OURS[case.function](inputs["input"], inputs["target"], **options)
        return (reduced(values, reduction),)

    assert_meets(case, function)


def test_box_losses_by_hand():
    box, target = jnp.array([0.5, 0.5, 0.2, 0.2]), jnp.array([0.4, 0.7, 0.2, 0.6])
    np.testing.assert_allclose(losses.l2(box, target).sum(), 0.21, rtol=1e-6)
    np.testing.assert_allclose(losses.smooth_l1(box, target).sum(), 0.105, rtol=1e-6)
    np.testing.assert_allclose(losses.l1(box, target).sum(), 0.7, rtol=1e-6)


def test_huber_is_a_parabola_below_delta_and_a_line_above():
    # 0.5^2 / 2 and 2 (5 - 2 / 2); slopes 0.5 and 2, and no slope at 0.
    values, slopes = jax.vmap(jax.value_and_grad(lambda x: losses.huber(x, 0.0, delta=2.0)))(
        jnp.array([0.5, 5, -5, 0])
    )
    np.testing.assert_array_equal(values, [0.125, 8, 8, 0])
    np.testing.assert_array_equal(slopes, [0.5, 2, -2, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.l1(jnp.ones((3, 1)), jnp.ones(3)), r"prediction \[3, 1\], target \[3\]"),
        (lambda: losses.smooth_l1(jnp.ones(3), jnp.ones(3), beta=0), "beta must be positive.*l1"),
        (lambda: losses.huber(jnp.ones(3), jnp.ones(3), delta=-1), "delta must be positive"),
    ],
)
def test_regression_losses_name_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
