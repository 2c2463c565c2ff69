import numpy as np
import pytest

from tests.samplers import reference

CASES = reference.cases()


def assert_within(got, want, bounds):
    """Each state lies within its bound, a part of its largest value."""
    for k, (a, b, bound) in enumerate(zip(got, want, bounds, strict=True)):
        error = np.abs(a - b.astype(np.float64)).max() / np.abs(b).max()
        assert error <= bound, f"state {k} is off by {error:.2g}, allowed {bound:.2g}"


@pytest.mark.parametrize("case", CASES)
def test_timesteps_equal_the_reference(case):
    timesteps = reference.sampler_of(case).timesteps
    want = case.outputs["timesteps"]
    config = case.meta["config"]
    # The reference interpolates those of Karras between float32 logarithms.
    between = 0.04 if config["beta_schedule"] == "squaredcos_cap_v2" else 0.006
    karras = config.get("use_karras_sigmas", False)
    if not case.meta["timesteps_same_in_float64"]:
        # Cut off: the reference's float32 tables put some just below a whole number.
        assert np.abs(timesteps - want).max() <= 1
    else:
        np.testing.assert_allclose(timesteps, want, rtol=1e-6, atol=between if karras else 1e-4)


@pytest.mark.parametrize("case", CASES)
def test_trajectories_equal_the_reference(case):
    got = reference.runs(case.function, "float32")[case.name]["x"]
    bound = max(1e-5, 3 * case.meta["float32_error"])
    assert_within(got, case.outputs["x"], [bound] * len(got))


@pytest.mark.parametrize("case", [c for c in CASES if "x0" in c.values[0].outputs])
def test_predicted_images_equal_the_reference(case):
    got = reference.runs(case.function, "float32")[case.name]["x0"]
    bound = max(1e-5, 3 * case.meta["float32_error"])
    # Where little of the image is left, x is multiplied by up to 2e4, and its rounding with it.
    rows = reference.sampler_of(case).clean[np.array(case.meta["kept"])[1:] - 1]
    bounds = np.maximum(bound, np.finfo(np.float32).eps * np.abs(rows).max(axis=1))
    assert_within(got, case.outputs["x0"], bounds)


@pytest.mark.parametrize("case", CASES)
def test_float64_runs_end_where_the_reference_does(case):
    got = reference.runs(case.function, "float64")[case.name]["x"][-1]
    assert got.dtype == np.float64
    assert_within([got], [case.outputs["x64"]], [1e-12])
