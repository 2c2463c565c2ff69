"""Diffusion: noise schedules, samplers and their runs, as functions of a model function. No Flax.

A Schedule says how much noise each timestep has; `ddpm`, `ddim`, ... make a Sampler of it, a table
of coefficients; `sample` runs it with a model, a function (x, t) -> prediction:

    schedule = noise_schedule("linear")
    image = sample(model, noise, ddim(schedule, steps=50))
"""

from jaxcv.samplers.ddim import ddim, ddim_inversion
from jaxcv.samplers.ddpm import ddpm
from jaxcv.samplers.dpm_solver import dpm_solver
from jaxcv.samplers.guidance import guided
from jaxcv.samplers.heat import heat, heat_steps, invert_heat_steps
from jaxcv.samplers.pndm import pndm
from jaxcv.samplers.process import convert_prediction, posterior, q_sample, velocity
from jaxcv.samplers.sample import sample, sample_trajectory
from jaxcv.samplers.sampler import DynamicThreshold, Sampler, add_noise
from jaxcv.samplers.schedule import Schedule, noise_schedule
from jaxcv.samplers.sigma_samplers import euler, euler_ancestral, heun, lms
from jaxcv.samplers.timesteps import karras_sigmas
from jaxcv.samplers.walk import entropy, gaussian_entropy, random_walk, walk_entropy

__all__ = [
    "DynamicThreshold",
    "Sampler",
    "Schedule",
    "add_noise",
    "convert_prediction",
    "ddim",
    "ddim_inversion",
    "ddpm",
    "dpm_solver",
    "entropy",
    "euler",
    "euler_ancestral",
    "gaussian_entropy",
    "guided",
    "heat",
    "heat_steps",
    "heun",
    "invert_heat_steps",
    "karras_sigmas",
    "lms",
    "noise_schedule",
    "pndm",
    "posterior",
    "q_sample",
    "random_walk",
    "sample",
    "sample_trajectory",
    "velocity",
    "walk_entropy",
]
