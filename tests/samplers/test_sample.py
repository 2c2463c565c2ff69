import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import samplers

LINEAR = samplers.noise_schedule("linear")
DDPM = samplers.ddpm(LINEAR, steps=5)
DDIM = samplers.ddim(LINEAR, steps=5)
DPM_SOLVER = samplers.dpm_solver(LINEAR, steps=5)  # remembers


def model(x, t):
    return 0.5 * x + t[:, None] / 1000


def noise(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def test_the_model_sees_a_timestep_for_each_example():
    seen = []

    def spy(x, t):
        seen.append((x.shape, x.dtype, t.shape, t.dtype))
        return x

    samplers.sample(spy, noise(2, 3), DDIM)
    assert seen == [((2, 3), jnp.float32, (2,), jnp.float32)]  # traced once


def test_a_trajectory_ends_at_the_sample():
    x, key = noise(2, 3), jax.random.key(1)
    states = samplers.sample_trajectory(model, x, DDPM, key=key)
    assert states["x"].shape == (6, 2, 3)
    assert states["x0"].shape == (5, 2, 3)
    np.testing.assert_array_equal(states["x"][0], x)
    np.testing.assert_allclose(states["x"][-1], samplers.sample(model, x, DDPM, key=key), rtol=1e-6)


def test_noise_of_an_example_is_a_function_of_key_place_and_step():
    key, x = jax.random.key(3), noise(2, 3)
    draws = [
        [
            jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, place), step), (3,))
            for place in range(2)
        ]
        for step in range(5)
    ]
    got = samplers.sample(model, x, DDPM, key=key)
    want = samplers.sample(model, x, DDPM, noise=jnp.array(draws))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_late_start_goes_on_as_the_whole_run_does():
    key = jax.random.key(1)
    whole = samplers.sample_trajectory(model, noise(2, 3), DDPM, key=key)["x"]
    late = samplers.ddpm(LINEAR, steps=5, start=2)
    got = samplers.sample(model, whole[2], late, key=key)
    np.testing.assert_allclose(got, whole[-1], rtol=1e-6)


def on_devices(count, sampler=DDPM):
    """The samples of a batch of 8 spread over `count` devices by jit."""
    mesh = jax.make_mesh((count,), ("batch",), devices=jax.devices()[:count])
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    run = jax.jit(lambda x, key: samplers.sample(model, x, sampler, key=key))
    return run(jax.device_put(noise(8, 3), spread), jax.random.key(1))


@pytest.mark.parametrize(("count", "sampler"), [(2, DDPM), (4, DDPM), (2, DPM_SOLVER)])
def test_samples_do_not_depend_on_the_number_of_devices(count, sampler):
    got = on_devices(count, sampler)
    assert len(got.sharding.device_set) == count
    np.testing.assert_allclose(got, on_devices(1, sampler), rtol=1e-6)


@pytest.mark.parametrize("sampler", [DDPM, DPM_SOLVER])
def test_samples_under_pmap_are_those_of_one_device(sampler):
    def run(x):
        return samplers.sample(model, x, sampler, key=jax.random.key(1))

    got = jax.pmap(run, "device", devices=jax.devices()[:4])(noise(8, 3).reshape(4, 2, 3))
    np.testing.assert_allclose(got.reshape(8, 3), on_devices(1, sampler), rtol=1e-6)


def test_samples_on_eight_devices_are_those_of_one():
    code = """
import numpy as np
from tests.samplers.test_sample import on_devices
np.testing.assert_allclose(on_devices(8), on_devices(1), rtol=1e-6)
"""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pathlib.Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_known_part_stays_and_is_noised_to_each_level():
    image = noise(2, 4, seed=1)
    mask = jnp.array([True, True, False, False])
    draws = noise(5, 2, 4, seed=2)
    states = samplers.sample_trajectory(
        model, noise(2, 4), DDIM, noise=draws, known=image, mask=mask
    )
    signal, sigma = DDIM.levels.T[:, 3]
    np.testing.assert_allclose(
        states["x"][3, :, :2], (signal * image + sigma * draws[2])[:, :2], rtol=1e-5
    )
    np.testing.assert_array_equal(states["x"][-1, :, :2], image[:, :2])
    free = samplers.sample(model, noise(2, 4), DDIM)
    np.testing.assert_allclose(states["x"][-1, :, 2:], free[:, 2:], rtol=1e-6)


def test_narrow_types_are_for_the_model_alone():
    seen = []

    def spy(x, t):
        seen.append((x.dtype, t.dtype))
        return model(x, t).astype(x.dtype)

    got = samplers.sample(spy, noise(2, 3).astype(jnp.bfloat16), DDPM, key=jax.random.key(1))
    assert got.dtype == jnp.bfloat16
    assert seen == [(jnp.bfloat16, jnp.float32)]


def test_a_gradient_goes_through_all_steps():
    def last(weight):
        return samplers.sample(lambda x, t: weight * x, jnp.ones((1, 1)), DDIM).sum()

    step = 1e-4
    with jax.enable_x64(True):
        slope = (last(0.3 + step) - last(0.3 - step)) / (2 * step)
        np.testing.assert_allclose(jax.grad(last)(0.3), slope, rtol=1e-6)


def test_vmap_runs_several_batches():
    x = noise(3, 2, 4)
    got = jax.vmap(lambda x: samplers.sample(model, x, DDIM))(x)
    want = [samplers.sample(model, one, DDIM) for one in x]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_guidance_by_hand():
    # The prediction is the condition: 1 and, unconditional, 3. 3 + 2 (1 - 3) = -1.
    predict = samplers.guided(
        lambda x, t, c: 0 * x + c, jnp.ones((2, 1)), jnp.full((2, 1), 3.0), scale=2.0
    )
    np.testing.assert_array_equal(predict(jnp.zeros((2, 4)), jnp.zeros(2)), -np.ones((2, 4)))


def test_guidance_leaves_a_learned_variance_to_the_condition():
    predict = samplers.guided(
        lambda x, t, c: jnp.concatenate([x + c, x + c], -1),
        jnp.ones((1, 1)),
        jnp.zeros((1, 1)),
        scale=5.0,
    )
    np.testing.assert_array_equal(predict(jnp.zeros((1, 1)), jnp.zeros(1)), [[5, 1]])


def test_guided_examples_keep_their_own_conditions_and_scales():
    predict = samplers.guided(
        lambda x, t, c: x * t[:, None] + c["shift"],
        {"shift": jnp.array([[1.0], [2.0]])},
        {"shift": jnp.zeros((2, 1))},
        scale=jnp.array([1.0, 10.0]),
    )
    got = predict(jnp.array([[1.0], [1.0]]), jnp.array([5.0, 7.0]))
    np.testing.assert_array_equal(got, [[6], [27]])


X = np.zeros((2, 3), np.float32)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": LINEAR}, r"sampler must be what ddpm.*return, got Schedule"),
        ({"x": np.zeros(3, np.float32)}, r"x must be a batch \[B, ...\] of floats, got \[3\]"),
        ({"x": np.zeros((2, 3), int)}, r"x must be a batch .* got \[2, 3\] int"),
        ({"model": lambda x, t: x[:, :2]}, r"model must return \[2, 3\] like x, got \[2, 2\]"),
        ({"sampler": DDPM}, r"key or noise must be given"),
        ({"sampler": DDPM, "key": KEY, "noise": np.zeros((5, 2, 3))}, r"two sources.*give one"),
        (
            {"sampler": DDPM, "noise": np.zeros((4, 2, 3))},
            r"noise must be \[5, 2, 3\], one draw for each call.*got \[4, 2, 3\]",
        ),
        (
            {"sampler": DDPM, "key": jax.random.PRNGKey(0)},
            r"key must be one typed key.*use jax.random.key",
        ),
        ({"known": X}, r"known and mask belong together"),
        ({"known": X[:1], "mask": X > 0, "key": KEY}, r"known must be \[2, 3\].*got \[1, 3\]"),
        ({"known": X, "mask": X, "key": KEY}, r"mask must be bool.*got \[2, 3\] float32"),
        ({"known": X, "mask": X[0, :2] > 0, "key": KEY}, r"broadcast to \[2, 3\], got \[2\] bool"),
        ({"known": X, "mask": X > 0}, r"key or noise must be given"),
        (
            {"sampler": samplers.ddpm(LINEAR, steps=5, variance="learned_range"), "key": KEY},
            r"model must return \[2, 6\], twice the channels of x for a learned variance",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    given = {"model": lambda x, t: x, "x": X, "sampler": DDIM} | arguments
    with pytest.raises(ValueError, match=message):
        samplers.sample(**given)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 1), (1, 1)), r"condition and unconditional.*\(2, 1\).*\(1, 1\)"),
        (((), ()), r"condition must be arrays \[B, ...\], got shapes \[\(\)\]"),
        (((3, 1), (3, 1)), r"condition must be \[2, ...\], one for each of x.*\(3, 1\)"),
    ],
)
def test_conditions_of_other_shapes_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        samplers.guided(model, *map(np.zeros, shapes), scale=1.0)(X, jnp.zeros(2))


def test_noise_of_no_sampler_is_refused():
    with pytest.raises(ValueError, match=r"sampler must be what ddpm.*return, got Schedule"):
        samplers.add_noise(X, X, LINEAR)


def test_an_image_and_noise_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"x0 and noise must have one shape.*\[2, 3\] and \[3\]"):
        samplers.add_noise(X, X[0], DDIM)
