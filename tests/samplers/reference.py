"""The reference trajectories: which of our samplers each stands for, and all runs of a file."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import samplers
from tests import golden

MAKERS = {
    "ddpm": samplers.ddpm,
    "ddim": samplers.ddim,
    "ddim_inverse": samplers.ddim_inversion,
    "dpmsolver": samplers.dpm_solver,
    "pndm": samplers.pndm,
    "euler": samplers.euler,
    "euler_ancestral": samplers.euler_ancestral,
    "heun": samplers.heun,
    "lms": samplers.lms,
}
NAMES = {  # diffusers' options, where ours go by other names
    "prediction_type": "prediction",
    "timestep_spacing": "spacing",
    "steps_offset": "offset",
    "variance_type": "variance",
    "solver_order": "order",
    "solver_type": "solver",
    "algorithm_type": "algorithm",
    "use_karras_sigmas": "karras",
    "final_sigmas_type": "final_sigma",
    "lambda_min_clipped": "lambda_min",
    "use_clipped_model_output": "clipped_epsilon",
}
# exp(0.5 log variance), which that one takes, is the root of the variance.
VALUES = {"fixed_small_log": "fixed_small"}


def cases():
    """Every case of every file, for parametrize: 137. Without the folder: one that skips.

    A case's function is the name of its file.
    """
    if not (golden.FOLDER / "schedulers").exists():
        return golden.cases("schedulers/absent.npz")
    return [
        pytest.param(case, id=f"{file}-{case.name}") for file in MAKERS for case in cases_of(file)
    ]


@functools.cache
def cases_of(file):
    """The cases of a file."""
    meta, arrays = golden.load(f"schedulers/{file}.npz")
    found = []
    for case in meta["cases"]:
        inputs, outputs = (
            {key.removeprefix(part): a for key, a in arrays.items() if key.startswith(part)}
            for part in (f"{case['name']}/in/", f"{case['name']}/out/")
        )
        found.append(golden.Case(case["name"], file, {}, inputs, outputs, {}, case))
    return found


def schedule_of(config):
    """The Schedule of a case's configuration, and what is left of the configuration."""
    rest = dict(config)
    betas = {name: rest.pop(name) for name in ("beta_start", "beta_end") if name in rest}
    zero = rest.pop("rescale_betas_zero_snr", False)
    name = rest.pop("beta_schedule")
    return samplers.noise_schedule(name, zero_terminal_snr=zero, **betas), rest


def sampler_of(case):
    """The Sampler of a case."""
    schedule, rest = schedule_of(case.meta["config"] | case.meta["step_arguments"])
    options = {}
    if rest.pop("thresholding", False):
        options["clip"] = samplers.DynamicThreshold(
            rest.pop("dynamic_thresholding_ratio"), rest.pop("sample_max_value")
        )
    elif not rest.pop("clip_sample", True):
        options["clip"] = None
    elif "clip_sample_range" in rest:
        options["clip"] = rest.pop("clip_sample_range")
    options |= {NAMES.get(name, name): VALUES.get(v, v) for name, v in rest.items()}
    start = case.meta["begin_index"] or 0
    return MAKERS[case.function](schedule, steps=case.meta["steps"], start=start, **options)


@functools.cache
def runs(file, dtype):
    """The kept states of all cases of a file, {name: trajectory}, as the reference lays them out.

    One program for all: compiling each alone takes three times as long.
    """
    cases = cases_of(file)
    with jax.enable_x64(dtype == "float64"):
        ran = jax.jit(lambda: {case.name: _run(case, sampler_of(case), dtype) for case in cases})()
        return jax.tree.map(lambda states: np.moveaxis(np.asarray(states), -1, 2), ran)


def _run(case, sampler, dtype):
    recipe = golden.recipe()

    def draw(name):
        return recipe.array(name, case.inputs["x"].shape, -(3**0.5), 3**0.5).astype(dtype)

    x = case.inputs["x"].astype(dtype)
    if sampler.start:
        x = samplers.add_noise(x, draw("scheduler.start.0"), sampler)
    else:
        x = x * sampler.init_noise_sigma
    noise = None
    if case.meta["draws"]:
        noise = np.stack([draw(f"scheduler.noise.{k}") for k in range(len(sampler))])
        noise = np.moveaxis(noise, 2, -1)
    learned = sampler.log_variance is not None

    def model(x, t):
        t = t[:, None, None, None]
        prediction = 0.9 * x * jnp.sin(t / 640) + 0.1 * jnp.sin(3 * x)
        if learned:
            return jnp.concatenate([prediction, jnp.sin(2 * x + t / 250)], -1)
        return prediction

    x = jnp.moveaxis(jnp.asarray(x), 1, -1)
    states = samplers.sample_trajectory(model, x, sampler, noise=noise)
    kept = np.array(case.meta["kept"])
    return {"x": states["x"][kept], "x0": states["x0"][kept[1:] - 1]}
