import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import samplers


@pytest.mark.parametrize(
    ("steps", "nats"),
    [(0, 0), (1, 0.693147), (2, 1.039721), (4, 1.407532), (16, 2.111707), (64, 2.805212)],
)
def test_entropy_of_a_walk(steps, nats):
    assert samplers.walk_entropy(steps) == pytest.approx(nats, abs=1e-6)


def test_entropy_of_a_long_walk_is_that_of_its_gaussian():
    # Places lie 2 apart and have variance n: half as many nats are lost as ln 4.
    gaussian = float(samplers.gaussian_entropy(64.0)) - np.log(2)
    assert samplers.walk_entropy(64) == pytest.approx(gaussian, abs=1e-3)
    assert gaussian == pytest.approx(0.5 * np.log(np.pi * np.e * 64 / 2), abs=1e-6)


def test_walkers_are_where_the_binomial_says():
    places = samplers.random_walk(jnp.zeros((4000, 1), int), steps=4, key=jax.random.key(0))
    assert places.shape == (5, 4000, 1)
    assert set(np.unique(np.diff(places, axis=0))) == {-1, 1}
    counts = np.array([(places[-1] == place).sum() for place in (-4, -2, 0, 2, 4)])
    share = np.array([1, 4, 6, 4, 1]) / 16
    deviation = np.sqrt(4000 * share * (1 - share))
    np.testing.assert_array_less(np.abs(counts - 4000 * share), 3 * deviation)
    assert float(samplers.entropy(counts.astype(float))) == pytest.approx(1.4075, abs=0.02)


def test_entropy_of_an_image_rises_as_heat_flows():
    image = jnp.array([0.0, 0, 1, 0, 0])
    blurred = samplers.heat_steps(image, rate=0.25, steps=1, axes=(0,))
    assert float(samplers.entropy(image)) == 0
    assert float(samplers.entropy(blurred)) == pytest.approx(1.039721, abs=1e-6)


@pytest.mark.parametrize("weights", [[0.0, 1, 2], [0.0, 0, 0]])
def test_entropy_has_finite_gradients_at_zero_weights(weights):
    assert np.isfinite(jax.grad(samplers.entropy)(jnp.array(weights))).all()


def test_entropy_of_nothing_is_zero_and_not_below():
    assert str(float(samplers.entropy(jnp.zeros(3)))) == "0.0"


def test_a_weight_below_zero_counts_as_none():
    below = samplers.entropy(jnp.array([1.0, 3.0, -1e-3]))
    assert float(below) == float(samplers.entropy(jnp.array([1.0, 3.0, 0.0])))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.zeros(3, int), r"positions must be \[N, D\] signed int, got \[3\] int"),
        (np.zeros((3, 1)), r"positions must be \[N, D\] signed int, got \[3, 1\] float"),
        (np.zeros((3, 1), np.uint8), r"signed int, got \[3, 1\] uint8"),
    ],
)
def test_positions_that_do_not_fit_are_refused(positions, message):
    with pytest.raises(ValueError, match=message):
        samplers.random_walk(positions, steps=1, key=jax.random.key(0))


def test_a_raw_key_is_refused():
    with pytest.raises(ValueError, match=r"key must be one typed key.*use jax.random.key"):
        samplers.random_walk(np.zeros((3, 1), int), steps=1, key=jax.random.PRNGKey(0))


def test_weights_that_are_not_floating_are_refused():
    with pytest.raises(ValueError, match="weights must be floating, got int"):
        samplers.entropy(np.ones(3, int))
