"""DDPM: ancestral sampling, the forward process in reverse."""

import numpy as np

from jaxcv.samplers.choose import check_known
from jaxcv.samplers.forms import CLEAN, NOISE, X, clean_form, times
from jaxcv.samplers.sampler import Sampler
from jaxcv.samplers.timesteps import starting_at, visited


def ddpm(
    schedule,
    *,
    steps,
    spacing="leading",
    offset=0,
    start=0,
    prediction="epsilon",
    variance="fixed_small",
    clip=1.0,
):
    """The Sampler that draws x[s] from p(x[s] | x[t]), s being the timestep after t.

    The mean is that of the posterior q(x[s] | x[t], x0) with the model's x0. Noise is drawn in
    every step but one that leaves timestep 0.

    Args:
        schedule: Schedule of T timesteps.
        steps: how many; or the timesteps to visit themselves, falling.
        spacing: "leading" (multiples of T // steps), "linspace" (T - 1 to 0) or "trailing" (T - 1
            and every T / steps below).
        offset: added to the timesteps of "leading".
        start: begin with this step, at an x of its level (`add_noise`).
        prediction: what the model predicts: "epsilon", "sample" (x0) or "v_prediction".
        variance: "fixed_small" (the posterior's), "fixed_large" (beta) or "learned_range": the
            model returns twice the channels, in the last axis, and the second half says where
            between the two the logarithm of the variance lies, from -1 to 1.
        clip: of x0: None, a number (to [-clip, clip]) or a DynamicThreshold.

    Source: Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020, algorithm 2; Nichol
        and Dhariwal, "Improved denoising diffusion probabilistic models", 2021, equation 15, for
        the learned variance; names and defaults of diffusers' DDPMScheduler.
    """
    check_known(_VARIANCES, variance, argument="variance")
    timesteps = starting_at(start, visited(schedule, steps, spacing=spacing, offset=offset))
    a = schedule.alphas_cumprod[timesteps.astype(int)]
    after = np.append(a[1:], 1)
    beta = 1 - a / after
    small = np.maximum((1 - after) / (1 - a) * beta, 1e-20)  # the step to x0 itself would have 0
    deviation = {"fixed_small": np.sqrt(small), "fixed_large": np.sqrt(beta)}.get(variance, 1)
    clean = clean_form(prediction, np.sqrt(a), np.sqrt(1 - a))
    return Sampler(
        timesteps=timesteps,
        levels=np.sqrt([np.append(a, 1), np.append(1 - a, 0)]).T,
        clean=clean,
        step=times(np.sqrt(after) * beta / (1 - a), clean if clip is None else CLEAN)
        + times(np.sqrt(a / after) * (1 - after) / (1 - a), X)
        + times(deviation * (timesteps > 0), NOISE),
        clip=clip,
        log_variance=np.log([small, beta]).T if variance == "learned_range" else None,
        start=start,
    )


_VARIANCES = ("fixed_small", "fixed_large", "learned_range")
