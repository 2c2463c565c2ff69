"""DDIM: from noise to an image with as much randomness as wanted, also none, and back again."""

import numbers

import numpy as np

from jaxcv.samplers.forms import CLEAN, NOISE, X, clean_form, epsilon_form, times
from jaxcv.samplers.sampler import Sampler
from jaxcv.samplers.timesteps import starting_at, visited


def ddim(
    schedule,
    *,
    steps,
    eta=0.0,
    spacing="leading",
    offset=0,
    start=0,
    prediction="epsilon",
    clip=1.0,
    clipped_epsilon=False,
    set_alpha_to_one=True,
):
    """The Sampler that goes to the level of the next timestep along the predicted epsilon.

    Where `steps` is a number, the timestep after t is t - T // steps, also where the spacing visits
    another one (diffusers' rule); where it is a sequence, the next in it.

    Args:
        schedule, steps, spacing, offset, start, prediction, clip: as of `ddpm`.
        eta: 0 is deterministic, 1 has the variance of DDPM's posterior.
        clipped_epsilon: take epsilon anew from the clipped x0 (use_clipped_model_output).
        set_alpha_to_one: the last level is that of x0; else that of timestep 0.

    Source: Song, Meng, Ermon, "Denoising diffusion implicit models", 2021, equations 12 and 16;
        names and defaults of diffusers' DDIMScheduler.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be within 0..1, got {eta!r}.")
    timesteps = visited(schedule, steps, spacing=spacing, offset=offset)
    below = _next(schedule, steps, timesteps)
    timesteps = starting_at(start, timesteps)
    a = _level(schedule, timesteps, set_alpha_to_one)
    after = _level(schedule, below[start:], set_alpha_to_one)
    deviation = eta * np.sqrt((1 - after) / (1 - a) * (1 - a / after))
    clean, epsilon = _predicted(prediction, a, clip, clipped_epsilon)
    return Sampler(
        timesteps=timesteps,
        levels=_levels(a, after),
        clean=clean,
        step=times(np.sqrt(after), clean if clip is None else CLEAN)
        + times(np.sqrt(np.maximum(1 - after - deviation**2, 0)), epsilon)
        + times(deviation, NOISE),
        clip=clip,
        start=start,
    )


def ddim_inversion(
    schedule,
    *,
    steps,
    spacing="leading",
    offset=0,
    start=0,
    prediction="epsilon",
    clip=1.0,
    set_alpha_to_one=True,
):
    """The Sampler from an image to the noise that `ddim` of the same options makes it from.

    At each timestep t, rising, it goes from the level of t - T // steps (of a sequence: of the
    timestep before) to that of t. The way back is exact in the limit of many steps.

    Args:
        schedule, steps, spacing, offset, prediction, clip, set_alpha_to_one: as of `ddim`.
        start: begin with this step; the first leaves the image.

    Source: Song, Meng, Ermon 2021, section 5.4; diffusers' DDIMInverseScheduler.
    """
    falling = visited(schedule, steps, spacing=spacing, offset=offset)
    before = _next(schedule, steps, falling)[::-1]
    timesteps = starting_at(start, falling[::-1])
    a = _level(schedule, before[start:], set_alpha_to_one)
    after = _level(schedule, timesteps, set_alpha_to_one)
    clean, epsilon = _predicted(prediction, a, clip, clipped_epsilon=False)
    return Sampler(
        timesteps=timesteps,
        levels=_levels(a, after),
        clean=clean,
        step=times(np.sqrt(after), clean if clip is None else CLEAN)
        + times(np.sqrt(1 - after), epsilon),
        clip=clip,
        start=start,
    )


def _next(schedule, steps, timesteps):
    """The timestep after each of those of a run."""
    if isinstance(steps, numbers.Integral):
        return timesteps - len(schedule) // steps
    return np.append(timesteps[1:], -1)


def _level(schedule, timesteps, set_alpha_to_one):
    """alphas_cumprod at each timestep; beyond the first, that of x0."""
    a = schedule.alphas_cumprod
    beyond = 1.0 if set_alpha_to_one else a[0]
    return np.where(timesteps < 0, beyond, a[np.maximum(timesteps, 0).astype(int)])


def _predicted(prediction, a, clip, clipped_epsilon):
    """The forms of x0 and epsilon."""
    signal, sigma = np.sqrt(a), np.sqrt(1 - a)
    clean = clean_form(prediction, signal, sigma)
    if clip is not None and clipped_epsilon:
        return clean, times(1 / sigma, X) - times(signal / sigma, CLEAN)
    return clean, epsilon_form(prediction, signal, sigma)


def _levels(a, after):
    a = np.concatenate([a[:1], after])
    return np.sqrt([a, 1 - a]).T
