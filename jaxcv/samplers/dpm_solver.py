"""DPM-Solver and DPM-Solver++: multistep solvers in the logarithm of the signal-to-noise ratio."""

import numbers

import numpy as np

from jaxcv.samplers.choose import check_known
from jaxcv.samplers.forms import CLEAN, NOISE, PAST, X, clean_form, epsilon_form, times
from jaxcv.samplers.sampler import Sampler
from jaxcv.samplers.timesteps import (
    check_spaced_by_karras,
    karras_sigmas,
    last_sigma,
    sigma_table,
    starting_at,
    timesteps_of,
    visited_by_dpm_solver,
)


def dpm_solver(
    schedule,
    *,
    steps,
    order=2,
    algorithm="dpmsolver++",
    solver="midpoint",
    karras=False,
    final_sigma="zero",
    lower_order_final=True,
    euler_at_final=False,
    spacing="linspace",
    offset=0,
    start=0,
    prediction="epsilon",
    clip=None,
    lambda_min=-np.inf,
):
    """The Sampler that integrates the diffusion ODE, or SDE, by what the model said before.

    Args:
        schedule, offset, start, prediction, clip: as of `ddpm`.
        steps: how many; or the timesteps to visit themselves, falling.
        order: 1, 2 or 3: how many predictions a step goes by; the first ones by fewer.
        algorithm: "dpmsolver++" (integrates x0), "dpmsolver" (epsilon; wants final_sigma
            "sigma_min") or "sde-dpmsolver++" (adds noise in every step).
        solver: "midpoint" or "heun": which second-order formula.
        karras: space the levels by `karras_sigmas`; timesteps are rounded, those of a cosine
            schedule cut off (diffusers' rule).
        final_sigma: "zero" (ends at x0, with a step of first order) or "sigma_min" (at the level of
            timestep 0).
        lower_order_final: in runs of fewer than 15 steps the last goes by one prediction, the one
            before by two at most.
        euler_at_final: the last step goes by one prediction always.
        spacing: as of `ddpm`, but cut into one more step, whose last timestep is left out.
        lambda_min: leaves out timesteps with log(signal / sigma) below it; -5.1 for "cosine".

    Source: Lu et al., "DPM-Solver", 2022, and "DPM-Solver++", 2022, algorithm 2; names and defaults
        of diffusers' DPMSolverMultistepScheduler. Order 3 of "sde-dpmsolver++" is the integral of a
        parabola; diffusers' differs in a sign, and its last term does not vanish with the step.
    """
    if order not in (1, 2, 3) or not isinstance(order, numbers.Integral):
        raise ValueError(f"order must be the int 1, 2 or 3, got {order!r}.")
    check_known(("dpmsolver++", "dpmsolver", "sde-dpmsolver++"), algorithm, argument="algorithm")
    check_known(("midpoint", "heun"), solver, argument="solver")
    if algorithm == "dpmsolver" and final_sigma == "zero":
        raise ValueError('algorithm "dpmsolver" cannot end at no noise: final_sigma="sigma_min".')
    timesteps = visited_by_dpm_solver(
        schedule, steps, spacing=spacing, offset=offset, lambda_min=lambda_min
    )
    timesteps, sigmas = _levels(schedule, timesteps, steps, karras, final_sigma)
    total = len(timesteps)
    timesteps, sigmas = starting_at(start, timesteps), sigmas[start:]
    count = len(timesteps)

    few = lower_order_final and total < 15
    first = few or euler_at_final or final_sigma == "zero"
    orders = _orders(count, order, at_end=(2 if few else 3, 1 if first else 2 if few else 3))

    signal, sigma = 1 / np.sqrt(1 + sigmas**2), sigmas / np.sqrt(1 + sigmas**2)
    clean = clean_form(prediction, signal[:-1], sigma[:-1])
    if algorithm == "dpmsolver":
        integrated = _epsilon(prediction, signal[:-1], sigma[:-1], clip)
    else:
        integrated = clean if clip is None else np.tile(CLEAN, (count, 1))
    with np.errstate(divide="ignore"):
        half_log_snr = -np.log(sigmas)  # lambda of the papers, inf at the end
    step = _own_part(algorithm, signal, sigma, np.diff(half_log_snr))
    for n in range(count):
        said = [PAST[(n - back) % order] for back in range(orders[n])]  # the latest first
        said = said if order > 1 else [integrated[n]]
        span = half_log_snr[max(n - orders[n] + 1, 0) : n + 2]
        step[n] += _integral(algorithm, solver, said, span, signal[n + 1], sigma[n + 1])
    return Sampler(
        timesteps=timesteps,
        levels=np.stack([signal, sigma], 1),
        clean=clean,
        step=step,
        record=integrated if order > 1 else None,
        slot=np.arange(count) % order,
        clip=clip,
        start=start,
    )


def _levels(schedule, timesteps, steps, karras, final_sigma):
    """Timesteps [N] and sigmas [N + 1]."""
    table = sigma_table(schedule)
    last = last_sigma(schedule, final_sigma)
    if not karras:
        sigmas = np.interp(timesteps, np.arange(len(table)), table)
        return timesteps, np.append(sigmas, last)
    check_spaced_by_karras(steps)
    sigmas = karras_sigmas(table[0], table[-1], len(timesteps))
    timesteps = timesteps_of(sigmas, schedule)
    timesteps = np.floor(timesteps) if schedule.name == "cosine" else np.round(timesteps)
    return timesteps, np.append(sigmas, last)


def _orders(count, order, *, at_end):
    """The order of each step: [count] int, rising at first, the last two at most `at_end`."""
    orders = np.minimum(np.arange(count) + 1, order)
    last = orders[-2:]
    last[:] = np.minimum(last, at_end[-len(last) :])
    return orders


def _epsilon(prediction, signal, sigma, clip):
    """The forms of epsilon: [N, WIDTH], that of the clipped x0 where it is clipped."""
    if clip is None:
        return epsilon_form(prediction, signal, sigma)
    return times(1 / sigma, X) - times(signal / sigma, CLEAN)


def _own_part(algorithm, signal, sigma, h):
    """What a step takes of x and of the noise: [N, WIDTH]."""
    if algorithm == "dpmsolver":
        return times(signal[1:] / signal[:-1], X)
    if algorithm == "dpmsolver++":
        return times(sigma[1:] / sigma[:-1], X)
    return times(sigma[1:] / sigma[:-1] * np.exp(-h), X) + times(
        sigma[1:] * np.sqrt(-np.expm1(-2 * h)), NOISE
    )


def _integral(algorithm, solver, said, span, signal, sigma):
    """The form of the exponentially weighted integral over a step of what the model says.

    Args:
        said: forms of what it said, the latest first: as many as the step's order.
        span: lambda where it said each of them, the earliest first, and at the step's end.
        signal, sigma: at the step's end.
    """
    h = span[-1] - span[-2]
    scale, u = {
        "dpmsolver++": (signal, h),
        "dpmsolver": (sigma, -h),
        "sde-dpmsolver++": (signal, 2 * h),
    }[algorithm]
    decay = np.expm1(-u)
    total = -scale * decay * said[0]
    if len(said) == 1:
        return total
    # Divided differences of the predictions by lambda, in units of h: r0 and r1 steps back.
    r0 = (span[-2] - span[-3]) / h
    slope = (said[0] - said[1]) / r0
    if len(said) == 2:
        weight = -0.5 * decay if solver == "midpoint" else decay / u + 1
        return total + scale * weight * slope
    r1 = (span[-3] - span[-4]) / h
    slope_before = (said[1] - said[2]) / r1
    bend = (slope - slope_before) / (r0 + r1)
    total += scale * (decay / u + 1) * (slope + r0 * bend)
    return total - scale * ((decay + u) / u**2 - 0.5) * bend
