import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import ops
from tests import golden

FILE = "ops/interpolate.npz"


@pytest.mark.parametrize(
    "case", golden.cases(FILE, "distance_transform_edt"), ids=lambda case: case.name
)
def test_distances_equal_scipy(case):
    got = ops.distance_transform(jnp.asarray(case.inputs["mask"]), **case.arguments)
    golden.assert_close(got, case.outputs["output"], case.error.get("output", 0))


@pytest.mark.parametrize(
    "case", golden.cases(FILE, "nearest_background"), ids=lambda case: case.name
)
def test_squared_distances_are_the_whole_numbers(case):
    got = np.float64(ops.distance_transform(jnp.asarray(case.inputs["mask"]))) ** 2
    np.testing.assert_array_equal(np.rint(got), case.outputs["output"])


def test_distances_by_hand():
    mask = jnp.ones((3, 5), bool).at[0, 0].set(False)
    want = np.hypot(*np.indices((3, 5)))
    np.testing.assert_allclose(ops.distance_transform(mask), want, rtol=1e-6)
    want = np.hypot(2 * np.indices((3, 5))[0], 0.5 * np.indices((3, 5))[1])
    got = ops.distance_transform(mask, sampling=(2, 0.5))
    np.testing.assert_allclose(got, want, rtol=1e-6)
    want = 2 * np.hypot(*np.indices((3, 5)))
    got = ops.distance_transform(mask.tolist(), sampling=np.float32(2))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_without_background_all_is_infinitely_far_and_without_foreground_0():
    assert np.isinf(ops.distance_transform(jnp.ones((3, 5), bool))).all()
    assert not ops.distance_transform(jnp.zeros((3, 5), bool)).any()
    assert ops.distance_transform(jnp.ones((0, 5), bool)).shape == (0, 5)


transform = jax.jit(ops.distance_transform)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from((0.02, 0.1, 0.5)))
def test_distances_equal_the_slow_form(seed, density):
    mask = np.random.default_rng(seed).uniform(size=(13, 17)) > density
    mask[5, 5] = False
    here, there = np.argwhere(np.ones_like(mask)), np.argwhere(~mask)
    want = np.linalg.norm(here[:, None] - there[None], axis=-1).min(1).reshape(mask.shape)
    np.testing.assert_allclose(transform(mask), want, rtol=1e-6)


def test_distance_transform_names_the_wrong_argument():
    with pytest.raises(ValueError, match=r"mask must be \[H, W\] bool, got \[3, 5\] float32"):
        ops.distance_transform(jnp.ones((3, 5)))
    with pytest.raises(ValueError, match="sampling must be positive"):
        ops.distance_transform(jnp.ones((3, 5), bool), sampling=0)
    with pytest.raises(ValueError, match=r"sampling must be a number or a pair.*\(1, 2, 3\)"):
        ops.distance_transform(jnp.ones((3, 5), bool), sampling=(1, 2, 3))
