import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers


def test_example_keys_do_not_depend_on_the_number_of_devices():
    def draw(size):
        # The key enters as a constant: the same on every device, as the step hands it out.
        return jax.vmap(jax.random.bits)(layers.example_keys(jax.random.key(7), size))

    one = draw(4)
    two = jax.pmap(lambda _: draw(2), "device", devices=jax.devices()[:2])(jnp.zeros(2))
    four = jax.pmap(lambda _: draw(1), "device", devices=jax.devices()[:4])(jnp.zeros(4))
    assert len(set(one.tolist())) == 4
    np.testing.assert_array_equal(two.ravel(), one)
    np.testing.assert_array_equal(four.ravel(), one)


def test_an_example_key_is_its_place_folded_in():
    key = jax.random.key(3)
    got = layers.example_keys(key, 2)
    want = [jax.random.key_data(jax.random.fold_in(key, place)) for place in (0, 1)]
    np.testing.assert_array_equal(jax.random.key_data(got), want)


@pytest.mark.parametrize("key", [jax.random.PRNGKey(0), jax.random.split(jax.random.key(0))])
def test_example_keys_wants_one_typed_key(key):
    with pytest.raises(ValueError, match=r"key must be one typed key.*use jax\.random\.key"):
        layers.example_keys(key, 2)


@pytest.mark.parametrize("layer", [layers.Dropout(0.5), layers.DropPath(0.5)])
def test_draws_over_two_devices_equal_those_of_one(layer):
    inputs = jnp.ones((4, 2, 2, 3))

    def apply(inputs):
        return layer.apply({}, inputs, False, rngs={"dropout": jax.random.key(1)})

    two = jax.pmap(apply, "device", devices=jax.devices()[:2])(inputs.reshape(2, 2, 2, 2, 3))
    one = apply(inputs)
    np.testing.assert_array_equal(two.reshape(inputs.shape), one)
    assert set(np.unique(one)) == {0, 2}


def test_dropout_zeroes_elements_and_keeps_the_mean():
    output = layers.Dropout(0.2).apply(
        {}, jnp.ones((4, 2500)), deterministic=False, rngs={"dropout": jax.random.key(0)}
    )
    # Of 10,000 elements 8,000 stay, give or take 40 (one deviation), each 1 / 0.8.
    assert abs(float((output > 0).sum()) - 8000) < 160
    np.testing.assert_allclose(np.unique(output), [0, 1.25])


def test_drop_path_zeroes_whole_examples():
    output = layers.DropPath(0.25, deterministic=False).apply(
        {}, jnp.ones((400, 2, 3)), rngs={"dropout": jax.random.key(0)}
    )
    first = output[:, :1, :1]
    np.testing.assert_array_equal(output, jnp.broadcast_to(first, output.shape))
    assert abs(int((first > 0).sum()) - 300) < 35  # one deviation is 8.7


@pytest.mark.parametrize("layer", [layers.Dropout, layers.DropPath])
def test_nothing_is_drawn_in_evaluation_or_at_rate_zero(layer):
    inputs = jnp.arange(6.0).reshape(2, 3)
    # Without a key in hand, drawing would raise.
    np.testing.assert_array_equal(layer(0.5).apply({}, inputs, deterministic=True), inputs)
    np.testing.assert_array_equal(layer(0.0).apply({}, inputs, deterministic=False), inputs)


def test_dropout_keeps_bfloat16():
    layer = layers.Dropout(0.5, deterministic=False)
    output = layer.apply({}, jnp.ones((2, 3), jnp.bfloat16), rngs={"dropout": jax.random.key(0)})
    assert output.dtype == jnp.bfloat16


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match=rf"rate must be in \[0, 1\), got {rate}"):
        layers.DropPath(rate).apply({}, jnp.ones((2, 3)), deterministic=True)
