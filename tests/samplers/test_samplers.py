"""What holds for every sampler, and their options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import samplers

LINEAR = samplers.noise_schedule("linear")
ALL = {
    "ddpm": functools.partial(samplers.ddpm, clip=None),
    "ddim": functools.partial(samplers.ddim, clip=None, eta=0.5),
    "dpm_solver_1": functools.partial(samplers.dpm_solver, order=1),
    "dpm_solver_2": samplers.dpm_solver,
    "dpm_solver_3": functools.partial(samplers.dpm_solver, order=3),
    "dpm_solver_sde_3": functools.partial(
        samplers.dpm_solver, order=3, algorithm="sde-dpmsolver++"
    ),
    "pndm": functools.partial(samplers.pndm, set_alpha_to_one=True),
    "plms": functools.partial(samplers.pndm, set_alpha_to_one=True, skip_prk_steps=True),
    "euler": functools.partial(samplers.euler, s_churn=1.0),
    "euler_ancestral": samplers.euler_ancestral,
    "heun": samplers.heun,
    "lms": samplers.lms,
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("start", [0, 3])
def test_a_model_that_knows_the_image_leads_there(name, start):
    sampler = ALL[name](LINEAR, steps=8, start=start, prediction="sample")
    image, noise = jax.random.normal(jax.random.key(0), (2, 2, 3))
    x = samplers.add_noise(image, noise, sampler)
    got = samplers.sample(lambda x, t: image, x, sampler, key=jax.random.key(1))
    np.testing.assert_allclose(got, image, atol=2e-5)


def gaussian(x, t):
    """The best prediction of epsilon for data of variance 4."""
    a = jnp.interp(t, jnp.arange(1000.0), jnp.asarray(LINEAR.alphas_cumprod, x.dtype))[:, None]
    return x * jnp.sqrt(1 - a) / (4 * a + 1 - a)


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (functools.partial(samplers.ddim, clip=None), 1),
        (samplers.euler, 1),
        (samplers.dpm_solver, 2),
        (samplers.heun, 2),
    ],
    ids=["ddim", "euler", "dpm_solver", "heun"],
)
def test_twice_the_steps_divide_the_error_by_the_power_of_the_order(make, order):
    errors = []
    for steps in (25, 50):
        # The last step, which leaves the smooth part of the schedule, does not count.
        sampler = make(LINEAR, steps=np.linspace(900, 100, steps + 1))
        with jax.enable_x64(True):
            states = samplers.sample_trajectory(gaussian, jnp.ones((1, 1)), sampler)["x"]
        # The ODE keeps x in proportion to its standard deviation.
        signal, sigma = sampler.levels[[0, -2]].T
        deviation = np.sqrt(4 * signal**2 + sigma**2)
        errors.append(abs(float(states[-2, 0, 0]) - deviation[1] / deviation[0]))
    assert 0.85 * 2**order < errors[0] / errors[1] < 1.2 * 2**order


def test_ddim_inversion_undoes_ddim():
    options = {"steps": 200, "clip": None}
    there = samplers.ddim_inversion(LINEAR, **options)
    back = samplers.ddim(LINEAR, **options)
    image = jax.random.normal(jax.random.key(0), (2, 3)) * 2
    noise = samplers.sample(gaussian, image, there)
    assert abs(float(noise.std() / image.std()) - 0.5) < 0.01  # of variance 4, to variance 1
    np.testing.assert_allclose(samplers.sample(gaussian, noise, back), image, rtol=0.01)


def test_ddim_with_eta_1_is_ddpm():
    # Both go to the next timestep, of which the posterior is drawn.
    steps = [999, 500, 100]
    noise = jax.random.normal(jax.random.key(1), (3, 2, 4))
    x = jnp.ones((2, 4))
    ddim = samplers.ddim(LINEAR, steps=steps, eta=1.0, clip=None)
    ddpm = samplers.ddpm(LINEAR, steps=steps, clip=None)
    got = samplers.sample_trajectory(gaussian, x, ddim, noise=noise)
    want = samplers.sample_trajectory(gaussian, x, ddpm, noise=noise)
    # But for the last step, in which DDPM adds noise that is not wanted.
    np.testing.assert_allclose(got["x"][:-1], want["x"][:-1], atol=1e-5)


def test_first_order_dpm_solver_is_ddim():
    steps = [999, 700, 400, 100]
    x = jnp.full((1, 2), 0.7)
    ddim = samplers.sample(gaussian, x, samplers.ddim(LINEAR, steps=steps, clip=None))
    dpm = samplers.sample(gaussian, x, samplers.dpm_solver(LINEAR, steps=steps, order=1))
    np.testing.assert_allclose(dpm, ddim, rtol=1e-5)


def test_dynamic_thresholding_by_hand():
    # Of |x0| = 0 1 2 3 4 the quantile .75 is 3; within 2 at most. Then over 2.
    sampler = samplers.ddim(
        LINEAR, steps=[0], prediction="sample", clip=samplers.DynamicThreshold(0.75, 2.0)
    )
    image = jnp.array([[0.0, -1, 2, 3, -4]])
    got = samplers.sample_trajectory(lambda x, t: image, image, sampler)["x0"]
    np.testing.assert_allclose(got[0], [[0, -0.5, 1, 1, -1]])


@pytest.mark.parametrize(
    ("maker", "options", "message"),
    [
        (samplers.ddim, {"steps": 0}, r"steps must be a whole number, 1 or more, got 0"),
        (samplers.ddim, {"steps": 1001}, r"steps must be at most the schedule's 1000.*got 1001"),
        (samplers.ddim, {"steps": 2.5}, r"steps must be a whole number.*got 2.5"),
        (samplers.ddim, {"steps": [1, 2]}, r"timesteps that fall within 999..0, got \[1, 2\]"),
        (samplers.ddim, {"steps": [1000, 2]}, r"timesteps that fall within 999..0"),
        (samplers.ddpm, {"steps": [9.5, 2]}, r"timesteps must be whole.*got \[9.5, 2\]"),
        (samplers.ddim, {"steps": 9, "eta": 1.5}, r"eta must be within 0..1, got 1.5"),
        (samplers.ddim, {"steps": 9, "spacing": "leadin"}, r"spacing is 'leadin'.*mean leading"),
        (samplers.ddim, {"steps": 9, "start": 9}, r"start must be below the 9 steps, got 9"),
        (samplers.ddim, {"steps": 9, "clip": -1}, r"clip must be a finite number above 0, got -1"),
        (samplers.ddim, {"steps": 1000, "offset": 1}, r"offset must leave timesteps within 999..0"),
        (
            samplers.ddim,
            {"steps": 9, "offset": 1, "spacing": "trailing"},
            'offset moves spacing "leading" alone',
        ),
        (samplers.ddim, {"steps": [9, 1], "spacing": "leadin"}, r"spacing is 'leadin'"),
        (samplers.dpm_solver, {"steps": [9, 1], "spacing": "linspce"}, r"spacing is 'linspce'"),
        (
            samplers.euler,
            {"steps": [9, 1], "offset": 1},
            r"offset moves no timesteps that are given, got 1 with \[9, 1\]",
        ),
        (samplers.ddpm, {"steps": 9, "variance": "large"}, r"variance is 'large'.*fixed_large"),
        (samplers.ddpm, {"steps": 9, "prediction": "eps"}, r"prediction is 'eps'.*mean epsilon"),
        (samplers.dpm_solver, {"steps": 9, "order": 4}, r"order must be the int 1, 2 or 3, got 4"),
        (samplers.dpm_solver, {"steps": 9, "order": 2.0}, r"must be the int 1, 2 or 3, got 2.0"),
        (samplers.dpm_solver, {"steps": 9, "solver": "euler"}, r"solver is 'euler'.*midpoint"),
        (
            samplers.dpm_solver,
            {"steps": 9, "algorithm": "dpmsolver"},
            '"dpmsolver" cannot end at no noise: final_sigma="sigma_min"',
        ),
        (samplers.dpm_solver, {"steps": 1000}, r"steps must be fewer for 1000 timesteps"),
        (samplers.dpm_solver, {"steps": 9, "lambda_min": 99.0}, r"lambda_min must leave timesteps"),
        (samplers.euler, {"steps": 9, "s_churn": -1.0}, r"s_churn and s_noise must be 0 or more"),
        (samplers.euler, {"steps": 9, "final_sigma": "max"}, r"final_sigma is 'max'.*sigma_min"),
        (samplers.heun, {"steps": [9, 1], "karras": True}, r"steps must be a number with karras"),
        (samplers.lms, {"steps": 9, "order": 5}, r"order must be 1 to 4, got 5"),
        (samplers.pndm, {"steps": 3}, r"steps must be 4 or more.*skip_prk_steps=True"),
    ],
)
def test_options_that_cannot_be_are_refused(maker, options, message):
    with pytest.raises(ValueError, match=message):
        maker(LINEAR, **options)


@pytest.mark.parametrize("maker", [samplers.ddim, samplers.dpm_solver, samplers.lms])
def test_the_name_of_a_schedule_is_not_one(maker):
    message = r"schedule must be a Schedule, got 'linear': use noise_schedule\(name\)"
    with pytest.raises(ValueError, match=message):
        maker("linear", steps=5)


@pytest.mark.parametrize("maker", [samplers.ddpm, samplers.ddim])
def test_epsilon_at_zero_signal_is_refused(maker):
    schedule = samplers.noise_schedule("linear", zero_terminal_snr=True)
    with pytest.raises(ValueError, match=r'"epsilon" says nothing of x0.*zero_terminal_snr'):
        maker(schedule, steps=10, spacing="trailing")


def test_pndm_at_zero_signal_is_refused():
    schedule = samplers.noise_schedule("linear", zero_terminal_snr=True)
    with pytest.raises(ValueError, match="schedule must leave some signal for pndm"):
        samplers.pndm(schedule, steps=10, spacing="trailing", prediction="v_prediction")


def test_inverting_a_predicted_sample_from_no_noise_is_refused():
    with pytest.raises(ValueError, match=r'"sample" says nothing of epsilon.*set_alpha_to_one'):
        samplers.ddim_inversion(LINEAR, steps=10, prediction="sample")


@pytest.mark.parametrize(
    ("threshold", "message"),
    [((1.5, 1.0), r"ratio must be within 0..1, got 1.5"), ((0.9, 0.5), "maximum must be.*1 or")],
)
def test_a_threshold_that_cannot_be_is_refused(threshold, message):
    with pytest.raises(ValueError, match=message):
        samplers.DynamicThreshold(*threshold)
