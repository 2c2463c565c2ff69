"""The reference trajectories: which of our samplers each stands for, and what it is run with."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import samplers
from tests import golden

FILES = (
    "ddpm",
    "ddim",
    "ddim_inverse",
    "dpmsolver",
    "pndm",
    "euler",
    "euler_ancestral",
    "heun",
    "lms",
)
MAKERS = {
    "DDPMScheduler": samplers.ddpm,
    "DDIMScheduler": samplers.ddim,
    "DDIMInverseScheduler": samplers.ddim_inversion,
    "DPMSolverMultistepScheduler": samplers.dpm_solver,
    "PNDMScheduler": samplers.pndm,
    "EulerDiscreteScheduler": samplers.euler,
    "EulerAncestralDiscreteScheduler": samplers.euler_ancestral,
    "HeunDiscreteScheduler": samplers.heun,
    "LMSDiscreteScheduler": samplers.lms,
}
NAMES = {  # diffusers' options and ours, where they go by other names
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
# exp(0.5 log variance) is the variance's root.
VALUES = {"fixed_small_log": "fixed_small"}


def cases():
    """Every case of every file, for parametrize: 137. Without the folder: one that skips."""
    if not (golden.FOLDER / "schedulers").exists():
        return golden.cases("schedulers/absent.npz")
    return [case for file in FILES for case in _cases_of(file)]


def _cases_of(file):
    meta, arrays = golden.load(f"schedulers/{file}.npz")
    for case in meta["cases"]:
        name = case["name"]
        outputs = {
            key.removeprefix(f"{name}/out/"): array
            for key, array in arrays.items()
            if key.startswith(f"{name}/out/")
        }
        inputs = {"x": arrays[f"{name}/in/x"]}
        found = golden.Case(name, case["scheduler"], {}, inputs, outputs, {}, case)
        yield pytest.param(found, id=f"{file}-{name}")


def schedule_of(config):
    """The Schedule of a case's configuration, and the rest of the configuration."""
    rest = dict(config)
    betas = {name: rest.pop(name) for name in ("beta_start", "beta_end") if name in rest}
    zero = rest.pop("rescale_betas_zero_snr", False)
    name = rest.pop("beta_schedule")
    return samplers.noise_schedule(name, zero_terminal_snr=zero, **betas), rest


def sampler_of(case):
    """The Sampler of a case."""
    meta = case.meta
    schedule, rest = schedule_of(meta["config"] | meta["step_arguments"])
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
    start = meta["begin_index"] or 0
    return MAKERS[case.function](schedule, steps=meta["steps"], start=start, **options)


def run(case, sampler, dtype):
    """The trajectory of our sampler from the case's start: channels last."""
    recipe = golden.recipe()

    def draw(name):
        return recipe.array(name, case.inputs["x"].shape, -(3**0.5), 3**0.5)

    x = case.inputs["x"].astype(dtype)
    if sampler.start:
        x = samplers.add_noise(x, draw("scheduler.start.0").astype(dtype), sampler)
    else:
        x = x * sampler.init_noise_sigma
    noise = None
    if case.meta["draws"]:
        noise = np.stack([draw(f"scheduler.noise.{k}") for k in range(len(sampler))])
        noise = np.moveaxis(noise, 2, -1).astype(dtype)
    x = jnp.moveaxis(jnp.asarray(x, dtype), 1, -1)
    learned = sampler.log_variance is not None

    def model(x, t):
        t = t[:, None, None, None]
        prediction = 0.9 * x * jnp.sin(t / 640) + 0.1 * jnp.sin(3 * x)
        if learned:
            return jnp.concatenate([prediction, jnp.sin(2 * x + t / 250)], -1)
        return prediction

    return samplers.sample_trajectory(model, x, sampler, noise=noise)
