"""Samplers that integrate dx / dsigma = (x - x0) / sigma: Euler, Euler ancestral, Heun, LMS.

Their x is x0 + sigma noise, not scaled back to variance 1: an x to start from is noise of variance
1 times `init_noise_sigma`. The model is given x / sqrt(1 + sigma^2), and timesteps that may be
fractional.
"""

import numpy as np

from jaxcv.samplers import predictions
from jaxcv.samplers.choose import check_whole
from jaxcv.samplers.forms import NOISE, OUTPUT, PAST, X, times
from jaxcv.samplers.sampler import Sampler
from jaxcv.samplers.timesteps import (
    check_spaced_by_karras,
    karras_sigmas,
    last_sigma,
    sigma_table,
    starting_at,
    timesteps_of,
    visited,
)


def euler(
    schedule,
    *,
    steps,
    s_churn=0.0,
    s_tmin=0.0,
    s_tmax=np.inf,
    s_noise=1.0,
    karras=False,
    final_sigma="zero",
    spacing="linspace",
    offset=0,
    start=0,
    prediction="epsilon",
):
    """The Sampler that takes Euler's steps.

    Args:
        schedule, start, prediction: as of `ddpm`.
        steps, spacing, offset: as of `ddpm`, but "linspace" is not rounded.
        s_churn: noise is added in every step, so that sigma grows by s_churn / steps of itself (at
            most by sqrt(2) - 1), where sigma lies within s_tmin..s_tmax.
        s_noise: the standard deviation of that noise.
        karras: space the sigmas by `karras_sigmas`.
        final_sigma: "zero" (ends at x0) or "sigma_min" (at the level of timestep 0).

    Source: Karras et al., "Elucidating the design space of diffusion-based generative models",
        2022, algorithm 2 without its second order; names and defaults of diffusers'
        EulerDiscreteScheduler, which adds the noise after the model was called, not before.
    """
    if not (s_churn >= 0 and s_noise >= 0):
        raise ValueError(f"s_churn and s_noise must be 0 or more, got {s_churn}, {s_noise}.")
    timesteps, sigmas, initial = _levels(
        schedule, steps, spacing, offset, start, karras, final_sigma
    )
    sigma, after = sigmas[:-1], sigmas[1:]
    churned = (s_tmin <= sigma) & (sigma <= s_tmax)
    grown = sigma * (1 + churned * min(s_churn / (start + len(sigma)), 2**0.5 - 1))
    noisy = X + times(s_noise * np.sqrt(grown**2 - sigma**2), NOISE)
    clean, slope = _predicted(prediction, noisy, sigma, grown)
    return _sampler(
        timesteps, sigmas, initial, start, clean=clean, step=noisy + times(after - grown, slope)
    )


def euler_ancestral(
    schedule, *, steps, spacing="linspace", offset=0, start=0, prediction="epsilon"
):
    """The Sampler that takes Euler's steps beyond the next level and adds noise up to it.

    Args:
        schedule, steps, spacing, offset, start, prediction: as of `euler`.

    Source: names and defaults of diffusers' EulerAncestralDiscreteScheduler, after k-diffusion.
    """
    timesteps, sigmas, initial = _levels(schedule, steps, spacing, offset, start, False, "zero")
    sigma, after = sigmas[:-1], sigmas[1:]
    up = after * np.sqrt(1 - (after / sigma) ** 2)
    down = after**2 / sigma
    clean, slope = _predicted(prediction, X, sigma, sigma)
    step = X + times(down - sigma, slope) + times(up, NOISE)
    return _sampler(timesteps, sigmas, initial, start, clean=clean, step=step)


def heun(
    schedule,
    *,
    steps,
    karras=False,
    spacing="linspace",
    offset=0,
    start=0,
    prediction="epsilon",
):
    """The Sampler that takes each step again by the mean of the slopes at both its ends.

    It calls the model twice a step but for the last, 2 N - 1 times in N steps.

    Args:
        schedule, steps, karras, spacing, offset, start, prediction: as of `euler`.

    Source: Karras et al. 2022, algorithm 1; names and defaults of diffusers' HeunDiscreteScheduler.
    """
    timesteps, sigmas, initial = _levels(schedule, steps, spacing, offset, start, karras, "zero")
    # Calls: the first end of step 0, the second, the first end of step 1 ...
    step_of = np.repeat(np.arange(len(timesteps)), 2)[:-1]
    second = np.arange(len(step_of)) % 2 == 1
    at = step_of + second
    width = np.diff(sigmas)[step_of]
    clean, slope = _predicted(prediction, X, sigmas[at], sigmas[at])
    halfway = times(width / 2, slope)
    return _sampler(
        timesteps[at],
        np.append(sigmas[at], 0),
        initial,
        start,
        clean=clean,
        # The first call remembers how far half of its slope leads, the second adds its own half.
        record=X + halfway,
        slot=second.astype(int),
        step=np.where(second[:, None], PAST[0] + halfway, X + 2 * halfway),
    )


def lms(
    schedule,
    *,
    steps,
    order=4,
    karras=False,
    spacing="linspace",
    offset=0,
    start=0,
    prediction="epsilon",
):
    """The Sampler that integrates the polynomial through the last `order` slopes.

    Args:
        schedule, steps, karras, spacing, offset, start, prediction: as of `euler`.
        order: 1 to 4; the first steps go by fewer.

    Source: linear multistep (Adams-Bashforth) with unequal steps, after k-diffusion; names and
        defaults of diffusers' LMSDiscreteScheduler. With a `start` that takes its order from the
        number of the step in the whole run, though its history is short; ours begins at order 1.
    """
    check_whole(order=order)
    if order > 4:
        raise ValueError(f"order must be 1 to 4, got {order}.")
    timesteps, sigmas, initial = _levels(schedule, steps, spacing, offset, start, karras, "zero")
    clean, slope = _predicted(prediction, X, sigmas[:-1], sigmas[:-1])
    step = np.tile(X, (len(timesteps), 1))
    for n in range(len(timesteps)):
        known = np.arange(max(n - order + 1, 0), n + 1)
        weights = _adams_bashforth(sigmas[known], sigmas[n + 1])
        step[n] += sum(weight * PAST[k % order] for k, weight in zip(known, weights))
    return _sampler(
        timesteps,
        sigmas,
        initial,
        start,
        clean=clean,
        step=step,
        record=slope,
        slot=np.arange(len(timesteps)) % order,
    )


def _levels(schedule, steps, spacing, offset, start, karras, final_sigma):
    """Timesteps [N], sigmas [N + 1] and the scale of the first x."""
    timesteps = visited(schedule, steps, spacing=spacing, offset=offset, whole=False)
    table = sigma_table(schedule)
    sigmas = np.interp(timesteps, np.arange(len(table)), table)
    if karras:
        check_spaced_by_karras(steps)
        sigmas = karras_sigmas(sigmas[-1], sigmas[0], steps)
        timesteps = timesteps_of(sigmas, schedule)
    sigmas = np.append(sigmas, last_sigma(schedule, final_sigma))
    timesteps, sigmas = starting_at(start, timesteps), sigmas[start:]
    # diffusers' rule. The former has no variance of the image, as a start from noise alone.
    initial = sigmas[0] if spacing != "leading" else np.hypot(sigmas[0], 1)
    return timesteps, sigmas, float(initial)


def _predicted(prediction, x, sigma, grown):
    """The forms of x0 and of the slope (x - x0) / sigma, [N, WIDTH].

    Args:
        prediction: what the model predicts.
        x: the form of x, after noise was added to it.
        sigma: [N], of the x that the model was given.
        grown: [N], sigma after the noise.
    """
    if prediction == "epsilon":
        return x - times(grown, OUTPUT), np.tile(OUTPUT, (len(sigma), 1))
    scale = _scale(sigma)
    of_x, of_output = predictions.linear(prediction, "sample", scale, sigma * scale)
    clean = times(of_x * scale, x) + times(of_output, OUTPUT)
    return clean, times(1 / grown, x - clean)


def _scale(sigma):
    return 1 / np.sqrt(1 + sigma**2)


def _sampler(timesteps, sigmas, initial, start, **forms):
    return Sampler(
        timesteps=timesteps,
        levels=np.stack([np.ones(len(sigmas)), sigmas], 1),
        scale=_scale(sigmas[:-1]),
        init_noise_sigma=initial,
        start=start,
        **forms,
    )


def _adams_bashforth(nodes, end):
    """Integrals from the last node to `end` of the polynomials that are 1 at one node, 0 at others.

    By Gauss's quadrature, which is exact here.
    """
    points, weights = np.polynomial.legendre.leggauss(len(nodes))
    half = (end - nodes[-1]) / 2
    places = nodes[-1] + half * (points + 1)  # [points]
    integrals = []
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k)
        values = np.prod((places[:, None] - others) / (node - others), axis=1)
        integrals.append(half * weights @ values)
    return np.array(integrals)
