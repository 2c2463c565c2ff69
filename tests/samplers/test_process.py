import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import samplers
from tests import golden
from tests.samplers.test_schedule import TABLES, tables

KINDS = ("epsilon", "sample", "v_prediction")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("function", "output"), [(samplers.q_sample, "add_noise"), (samplers.velocity, "velocity")]
)
def test_the_forward_process_equals_the_reference(name, function, output):
    schedule, _, _, arrays = tables(name)
    got = function(arrays["in/clean"], arrays["in/timesteps"], arrays["in/noise"], schedule)
    golden.assert_close(got, arrays[f"out/{output}"])  # the reference has float32 tables


@pytest.mark.parametrize("name", TABLES)
def test_the_posterior_equals_the_reference(name):
    schedule, _, _, arrays = tables(name)
    t = np.arange(1000)
    ones, zeros = np.ones((1000, 1)), np.zeros((1000, 1))
    with jax.enable_x64(True):
        of_x0, variance = samplers.posterior(ones, zeros, t, schedule)
        of_x, _ = samplers.posterior(zeros, ones, t, schedule)
    for got, want in (
        (of_x0, "posterior_x0_64"),
        (of_x, "posterior_xt_64"),
        (np.maximum(variance, 1e-20), "variance_fixed_small64"),  # the reference's floor
    ):
        np.testing.assert_allclose(got[:, 0], arrays[f"out/{want}"], rtol=1e-9, atol=1e-14)


def test_one_step_by_hand():
    # sqrt(.99) * 1 + sqrt(.01) * .5
    got = samplers.q_sample(
        jnp.ones((1, 1)), jnp.zeros(1, int), jnp.full((1, 1), 0.5), samplers.Schedule([0.01])
    )
    np.testing.assert_allclose(got, [[1.044987]], rtol=1e-6)


@pytest.mark.parametrize(("given", "wanted"), itertools.product(KINDS, KINDS))
def test_predictions_convert_into_each_other(given, wanted):
    schedule = samplers.noise_schedule("linear")
    t = jnp.array([10, 300, 800])
    x0, noise = jax.random.normal(jax.random.key(0), (2, 3, 4))
    x = samplers.q_sample(x0, t, noise, schedule)
    truth = {
        "epsilon": noise,
        "sample": x0,
        "v_prediction": samplers.velocity(x0, t, noise, schedule),
    }
    got = samplers.convert_prediction(truth[given], x, t, schedule, given=given, wanted=wanted)
    np.testing.assert_allclose(got, truth[wanted], atol=2e-5)


def test_timesteps_out_of_range_are_taken_at_the_nearest():
    schedule = samplers.noise_schedule("linear")
    x = jnp.ones((2, 3))
    got = samplers.q_sample(x, jnp.array([-1, 1000]), x, schedule)
    np.testing.assert_array_equal(got, samplers.q_sample(x, jnp.array([0, 999]), x, schedule))


@pytest.mark.parametrize(
    ("x0", "t", "message"),
    [
        (np.zeros((2, 3)), [0, 1], r"x0 and noise must be .* \[2, 3\] and \[2, 4\]"),
        (np.zeros((2, 4)), [0.0, 1.0], r"t must be \[2\] int.*got \[2\] float"),
        (np.zeros((2, 4)), 0, r"t must be \[2\] int.*got \[\] int"),
        (np.zeros((2, 4), int), [0, 1], "x0 must be floating, got int"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x0, t, message):
    with pytest.raises(ValueError, match=message):
        samplers.q_sample(x0, np.array(t), np.zeros((2, 4)), samplers.Schedule([0.1]))


def test_an_unknown_kind_of_prediction_is_refused():
    x, t = jnp.zeros((1, 2)), jnp.zeros(1, int)
    with pytest.raises(ValueError, match=r"prediction is 'velocity', which is unknown.*v_pred"):
        samplers.convert_prediction(
            x, x, t, samplers.Schedule([0.1]), given="velocity", wanted="sample"
        )
