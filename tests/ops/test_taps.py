import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.ops import taps


def make(points, seed=0):
    rng = np.random.default_rng(seed)
    features = jnp.asarray(rng.normal(size=(11, 5)), jnp.float32)
    indices = jnp.asarray(rng.integers(0, 11, (points, 3)), jnp.int32)
    weights = jnp.asarray(rng.normal(size=(points, 3)), jnp.float32)
    return features, indices, weights, jnp.asarray(rng.normal(size=(points, 5)), jnp.float32)


def test_weighted_rows_by_hand():
    features = jnp.array([[1.0, 10], [2, 20], [3, 30]])
    got = taps.weighted_rows(features, jnp.array([[0, 2], [1, 1]]), jnp.array([[1.0, 2], [3, -1]]))
    np.testing.assert_array_equal(got, [[7, 70], [4, 40]])


@pytest.mark.parametrize("points", [0, 1, 128, 200])
def test_both_forms_of_the_gradients_equal_the_sums(points):
    features, indices, weights, cotangent = make(points)
    by_features = np.zeros((11, 5))
    np.add.at(by_features, indices, np.asarray(cotangent)[:, None] * np.asarray(weights)[..., None])
    by_weights = (np.asarray(features)[indices] * np.asarray(cotangent)[:, None]).sum(-1)
    for form in (taps._gradients_in_steps, taps._gradients_at_once):
        got = form(features, indices, weights, cotangent)
        np.testing.assert_allclose(got[0], by_features, atol=1e-5)
        np.testing.assert_allclose(got[1], by_weights, atol=1e-5)


@pytest.mark.parametrize("axes", [(0, 0, 0, 0), (None, 0, 0, 0), (0, None, 0, 0), (0, 0, None, 0)])
def test_gradients_of_a_batch_equal_those_of_its_members(axes):
    batches = [jnp.stack(pair) for pair in zip(make(7), make(7, seed=1))]
    arrays = [a if axis == 0 else a[0] for a, axis in zip(batches, axes)]
    got = jax.vmap(taps._gradients, axes)(*arrays)
    for member in range(2):
        one = [a[member] if axis == 0 else a for a, axis in zip(arrays, axes)]
        want = taps._gradients_at_once(*one)
        for a, b in zip(got, want):
            np.testing.assert_allclose(a[member], b, atol=1e-5)
