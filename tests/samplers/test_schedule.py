import jax
import numpy as np
import pytest

from jaxcv import samplers
from tests import golden
from tests.samplers.reference import schedule_of

NAMES = ("linear", "scaled_linear", "cosine", "sigmoid")
TABLES = [f"{name}{ending}" for name in NAMES for ending in ("", "_zero_snr")]


def tables(name):
    """Our Schedule of a case of the reference's tables, and the case's arrays."""
    meta, arrays = golden.load("schedulers/tables.npz")
    (case,) = [case for case in meta["cases"] if case["name"] == name]
    prefix = f"{name}/"
    arrays = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
    return *schedule_of(case["config"]), case, arrays


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("table", ["betas", "alphas_cumprod"])
def test_tables_equal_the_reference(name, table):
    schedule, _, case, arrays = tables(name)
    got = getattr(schedule, table)
    np.testing.assert_allclose(got, arrays[f"out/{table}64"], rtol=1e-12, atol=1e-15)
    # What is shipped is float32, with an error of its own.
    golden.assert_close(got, arrays[f"out/{table}"], case["float32_error"][table], floor=1e-7)


@pytest.mark.parametrize("name", TABLES)
def test_snr_equals_the_reference(name):
    schedule, _, _, arrays = tables(name)
    np.testing.assert_allclose(schedule.snr, arrays["out/snr64"], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "cosine"])
@pytest.mark.parametrize("steps", [5, 25])
def test_karras_sigmas_equal_the_reference(name, steps):
    schedule, _, _, arrays = tables(f"karras_{name}_{steps}")
    sampler = samplers.euler(schedule, steps=steps, karras=True)
    # The reference's smallest sigma has float32's rounding of 1 - alphas_cumprod, up to 5e-4.
    np.testing.assert_allclose(sampler.levels[:, 1], arrays["out/sigmas"], rtol=6e-4)
    # And it interpolates timesteps between float32 logarithms: 0.0055 away, 0.036 for cosine.
    atol = 0.04 if name == "cosine" else 0.006
    np.testing.assert_allclose(sampler.timesteps, arrays["out/timesteps"], rtol=0, atol=atol)


def test_karras_sigmas_by_hand():
    # With rho 2 the roots are equally spaced: 3, 2, 1.
    np.testing.assert_allclose(samplers.karras_sigmas(1, 9, 3, rho=2), [9, 4, 1])


def test_the_linear_schedule_of_1000_steps():
    schedule = samplers.noise_schedule("linear")
    a = schedule.alphas_cumprod[[0, 249, 499, 749, 999]]
    np.testing.assert_allclose(a, [0.9999, 0.524085, 0.078587, 0.003351, 4.0358e-5], rtol=2e-4)
    assert np.argmax(schedule.snr < 1) + 1 == 260


def test_zero_terminal_snr_by_hand():
    # Roots .9 .6 -> shifted and scaled so that the first stays and the last is 0.
    schedule = samplers.noise_schedule(
        "linear", train_steps=2, beta_start=0.19, beta_end=5 / 9, zero_terminal_snr=True
    )
    np.testing.assert_allclose(schedule.alphas_cumprod, [0.81, 0], atol=1e-15)


def test_entropy_of_gaussian_data_rises_only_if_it_is_narrower_than_the_noise():
    a = samplers.noise_schedule("linear").alphas_cumprod[[0, -1]]
    for variance, ends in ((0.25, (0.725791, 1.418923)), (4.0, (2.112086, 1.418999))):
        first, last = samplers.gaussian_entropy(np.array([variance, a[1] * variance + 1 - a[1]]))
        np.testing.assert_allclose([first, last], ends, rtol=1e-5)


@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_diffused_data_always_come_closer_to_the_noise(variance):
    a = samplers.noise_schedule("linear").alphas_cumprod
    diffused = a * variance + 1 - a
    divergence = 0.5 * (diffused - 1 - np.log(diffused))  # Kullback-Leibler, from N(0, 1)
    assert np.all(np.diff(divergence) < 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cosin"}, "name is 'cosin', which is unknown. Did you mean cosine"),
        ({"name": "linear", "train_steps": 0}, "train_steps must be a whole number, 1 or more"),
        ({"name": "linear", "train_steps": 10.5}, "train_steps must be a whole number.*10.5"),
        ({"name": "linear", "beta_end": 1e-5}, "betas must rise.*beta_start 0.0001"),
        ({"name": "cosine", "beta_end": 0.02}, "'cosine' has no beta_start and beta_end"),
        (
            {"name": "linear", "train_steps": 1, "zero_terminal_snr": True},
            "zero_terminal_snr needs train_steps of 2 or more",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        samplers.noise_schedule(**options)


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        (np.ones((2, 2)), r"betas must be \[T\].*got \[2, 2\]"),
        ([0.1, -0.1], r"betas must lie in \(0, 1\).*got -0.1..0.1"),
        ([1.0, 0.1], r"betas must lie in \(0, 1\), the last may be 1"),
    ],
)
def test_betas_that_cannot_be_are_refused(betas, message):
    with pytest.raises(ValueError, match=message):
        samplers.Schedule(betas)


def test_traced_betas_are_refused():
    with pytest.raises(ValueError, match=r"betas must be concrete.*outside of jit"):
        jax.jit(lambda betas: samplers.Schedule(betas).betas)(np.full(3, 0.1))
