"""The worked example: what heat does to an image, and what undoing it does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import samplers

CHECKERBOARD = np.indices((8, 8)).sum(0) % 2 * 2.0 - 1


def test_two_explicit_steps_by_hand():
    steps = [
        samplers.heat_steps(
            jnp.array([0.0, 0, 1, 0, 0]), rate=0.25, steps=n, axes=(0,), boundary="periodic"
        )
        for n in (1, 2)
    ]
    np.testing.assert_allclose(
        steps, [[0, 0.25, 0.5, 0.25, 0], [0.0625, 0.25, 0.375, 0.25, 0.0625]]
    )


@pytest.mark.parametrize(
    ("rate", "factor"), [(0.2, 8.0828e-12), (0.25, 1), (0.26, 46.9016), (0.3, 2.0249e7)]
)
def test_a_checkerboard_shows_where_the_scheme_is_stable(rate, factor):
    with jax.enable_x64(True):
        got = samplers.heat_steps(
            CHECKERBOARD, rate=rate, steps=50, boundary="periodic", allow_unstable=True
        )
        np.testing.assert_allclose(got, factor * CHECKERBOARD, rtol=1e-4)


@pytest.mark.parametrize(
    ("axes", "rate", "message"),
    [
        ((0, 1), 0.26, r"rate must be within 0..0.25, where 2 axes are stable, got 0.26.*smaller"),
        ((0,), 0.51, r"rate must be within 0..0.5, where 1 axes are stable, got 0.51"),
        ((0, 1), -0.1, r"rate must be within 0..0.25.*got -0.1.*allow_unstable=True"),
    ],
)
def test_an_unstable_rate_is_refused(axes, rate, message):
    with pytest.raises(ValueError, match=message):
        samplers.heat_steps(np.zeros((4, 4)), rate=rate, steps=1, axes=axes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.26}, r"rate must be within 0..0.25, where 2 axes are stable, got 0.26"),
        ({"rate": 0.25}, r"rate must leave something of every wave, got 0.25.* \[8, 8\] away"),
        ({"rate": 0.125}, r"rate must leave something of every wave, got 0.125.*another rate"),
        ({"rate": 0.1, "axes": ()}, r"axes must be different axes of an image \[8, 8\]"),
    ],
)
def test_steps_that_cannot_be_undone_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        samplers.invert_heat_steps(CHECKERBOARD, steps=2, boundary="periodic", **options)


@pytest.mark.parametrize("function", [samplers.heat_steps, samplers.invert_heat_steps])
def test_a_traced_rate_must_be_allowed(function):
    image = jnp.array([0.0, 0, 1, 0, 0])

    def run(rate, **options):
        return function(image, rate=rate, steps=2, axes=(0,), **options)[2]

    with pytest.raises(ValueError, match=r"within 0..0.5, got a traced one: allow_unstable=True"):
        jax.grad(run)(0.1)
    got = jax.grad(lambda rate: run(rate, allow_unstable=True))(0.1)
    want = (run(0.101) - run(0.099)) / 0.002
    np.testing.assert_allclose(got, want, rtol=1e-3)


def test_a_traced_time_is_as_good_as_a_number():
    wave = jnp.cos(np.pi * (np.arange(4) + 0.5) / 4)
    times = jnp.array([0.0, 1.0])
    got = jax.vmap(lambda time: samplers.heat(wave, time=time, axes=(0,)))(times)
    np.testing.assert_allclose(got, [wave, 0.556668 * wave], rtol=1e-5, atol=1e-7)
    slope = jax.grad(lambda time: samplers.heat(wave, time=time, axes=(0,))[0])(1.0)
    np.testing.assert_allclose(slope, -0.585786 * 0.556668 * wave[0], rtol=1e-5)


@pytest.mark.parametrize(
    "run",
    [
        lambda image: samplers.heat_steps(image, rate=0.2, steps=100),
        lambda image: samplers.heat(image, time=2.0),
    ],
)
def test_half_precision_is_computed_in_single(run):
    image = jax.random.uniform(jax.random.key(0), (8, 8, 1)).astype(jnp.bfloat16)
    want = run(image.astype(jnp.float32)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(run(image), want)


def test_a_cosine_decays_at_its_rate():
    # N 4, k 1: 2 - 2 cos(pi / 4) = .585786, and e^-.585786 = .556668.
    wave = np.cos(np.pi * (np.arange(4) + 0.5) / 4)
    got = samplers.heat(jnp.asarray(wave), time=1.0, axes=(0,))
    np.testing.assert_allclose(got, 0.556668 * wave, rtol=1e-5)


@pytest.mark.parametrize("boundary", ["insulated", "periodic"])
def test_many_small_steps_come_to_the_exact_solution(boundary):
    image = jax.random.uniform(jax.random.key(0), (5, 6, 2))
    steps = samplers.heat_steps(image, rate=1e-3, steps=2000, boundary=boundary)
    exact = samplers.heat(image, time=2.0, boundary=boundary)
    np.testing.assert_allclose(steps, exact, atol=1e-3)
    np.testing.assert_allclose(exact.mean((0, 1)), image.mean((0, 1)), rtol=1e-5)  # no heat is lost


@pytest.mark.parametrize("boundary", ["insulated", "periodic"])
def test_the_inverse_undoes_the_steps_where_digits_suffice(boundary):
    with jax.enable_x64(True):
        image = jax.random.uniform(jax.random.key(0), (5, 6, 1), jnp.float64)
        options = {"rate": 0.1, "steps": 5, "boundary": boundary}
        blurred = samplers.heat_steps(image, **options)
        np.testing.assert_allclose(
            samplers.invert_heat_steps(blurred, **options), image, atol=1e-10
        )


def test_inverting_multiplies_a_checkerboard_by_five_a_step():
    got = samplers.invert_heat_steps(CHECKERBOARD, rate=0.1, steps=10, boundary="periodic")
    np.testing.assert_allclose(got, 5.0**10 * CHECKERBOARD, rtol=1e-4)  # 9.77e6


def test_a_step_backwards_multiplies_a_checkerboard_by_nine_fifths():
    got = samplers.heat_steps(
        CHECKERBOARD, rate=-0.1, steps=1, boundary="periodic", allow_unstable=True
    )
    np.testing.assert_allclose(got, 1.8 * CHECKERBOARD, rtol=1e-6)


def test_the_inverse_drowns_the_image_in_what_rounding_left():
    image = jax.random.uniform(jax.random.key(0), (16, 16, 1))
    blurred = samplers.heat(image, time=8.0)
    back = samplers.heat(blurred, time=-8.0)
    assert float(jnp.abs(blurred - image).max()) < 1
    assert float(jnp.abs(back - image).max()) > 1e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boundary": "open"}, r"boundary is 'open', which is unknown. Known: insulated, periodic"),
        ({"axes": (0, 0)}, r"axes must be different axes of an image \[4, 4\], got \(0, 0\)"),
        ({"axes": (2,)}, r"axes must be different axes of an image \[4, 4\], got \(2,\)"),
        ({"image": np.zeros((4, 4), int)}, r"image must be floating, got int"),
    ],
)
def test_images_and_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        samplers.heat(**({"image": np.zeros((4, 4)), "time": 1.0} | options))
