import jax
import numpy as np
import pytest

from tests.samplers import reference

CASES = reference.cases()


def assert_within(got, want, bound):
    """Every state lies within `bound` of the largest value of the wanted one."""
    got = np.moveaxis(np.asarray(got, np.float64), -1, 2)
    for k, (a, b) in enumerate(zip(got, want, strict=True)):
        error = np.abs(a - b).max() / np.abs(b).max()
        assert error <= bound, f"state {k} is off by {error:.2g}, allowed {bound:.2g}"


@pytest.mark.parametrize("case", CASES)
def test_trajectories_equal_the_reference(case):
    sampler = reference.sampler_of(case)
    got = reference.run(case, sampler, np.float32)
    kept = np.array(case.meta["kept"])
    bound = max(1e-5, 3 * case.meta["float32_error"])
    assert_within(got["x"][kept], case.outputs["x"], bound)
    if "x0" in case.outputs:
        assert_within(got["x0"][kept[1:] - 1], case.outputs["x0"], bound)


@pytest.mark.parametrize("case", CASES)
def test_timesteps_equal_the_reference(case):
    sampler = reference.sampler_of(case)
    np.testing.assert_allclose(sampler.timesteps, case.outputs["timesteps"], rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_float64_runs_end_at_the_reference(case):
    sampler = reference.sampler_of(case)
    with jax.enable_x64(True):
        got = reference.run(case, sampler, np.float64)
    assert_within(got["x"][-1:], case.outputs["x64"][None], 1e-10)
