"""PNDM: pseudo linear multistep (PLMS) sampling, with or without its Runge-Kutta start."""

import numbers
from typing import NamedTuple

import numpy as np

from jaxcv.samplers import predictions
from jaxcv.samplers.forms import OUTPUT, PAST, X, clean_form
from jaxcv.samplers.sampler import Sampler
from jaxcv.samplers.timesteps import starting_at, visited


def pndm(
    schedule,
    *,
    steps,
    skip_prk_steps=False,
    spacing="leading",
    offset=0,
    start=0,
    prediction="epsilon",
    set_alpha_to_one=False,
):
    """The Sampler that goes along a polynomial through the last four predictions.

    Args:
        schedule, steps, spacing, offset, start, prediction: as of `ddim`.
        skip_prk_steps: start with a step by one prediction and its correction, steps + 1 calls in
            all (PLMS); else with three Runge-Kutta steps of four calls each, steps + 9 in all.
        set_alpha_to_one: the last level is that of x0; else that of timestep 0.

    Source: Liu et al., "Pseudo numerical methods for diffusion models on manifolds", 2022,
        equations 11 to 13; names and defaults of diffusers' PNDMScheduler.
    """
    timesteps = visited(schedule, steps, spacing=spacing, offset=offset).astype(int)
    if isinstance(steps, numbers.Integral):  # as of `ddim`
        stride = len(schedule) // steps
        strides = np.full(len(timesteps), stride)
    else:
        strides = timesteps - np.append(timesteps[1:], -1)
    timesteps, strides = starting_at(start, timesteps), strides[start:]
    if not skip_prk_steps and len(timesteps) < 4:
        raise ValueError(
            f"steps must be 4 or more for the Runge-Kutta start, got {len(timesteps)}."
            " Use skip_prk_steps=True."
        )
    calls = _calls(timesteps, strides, skip_prk_steps)
    a = np.append(schedule.alphas_cumprod, 1.0 if set_alpha_to_one else schedule.alphas_cumprod[0])
    if a[timesteps[0]] == 0:
        raise ValueError("schedule must leave some signal for pndm: no zero_terminal_snr.")
    a_of = lambda t: a[np.maximum(t, -1)]  # noqa: E731 (beyond timestep 0 comes the last)
    step, of_base, of_mixture = [], 1, 0
    for call in calls:
        base = X if call.undo is None else (X - of_mixture * PAST[call.undo]) / of_base
        of_base, of_mixture = _transfer(prediction, a_of(call.leaves), a_of(call.reaches))
        step.append(of_base * base + of_mixture * call.mixture)
    told = np.array([call.timestep for call in calls])
    reached = a_of(np.array([call.reaches for call in calls]))
    reached = np.concatenate([a_of(told[:1]), reached])
    return Sampler(
        timesteps=told.astype(float),
        levels=np.sqrt([reached, 1 - reached]).T,
        clean=clean_form(prediction, np.sqrt(a_of(told)), np.sqrt(1 - a_of(told))),
        step=np.array(step),
        record=np.tile(OUTPUT, (len(calls), 1)),
        slot=np.array([call.slot for call in calls]),
        start=start,
    )


class _Call(NamedTuple):
    """A call of the model, and the step that is taken then."""

    timestep: int  # that the model is told
    leaves: int  # the timestep whose level the step starts from; below 0: the last level
    reaches: int  # likewise
    slot: int  # of PAST, for the prediction
    mixture: np.ndarray  # the form of the prediction that it goes by
    undo: int | None = None  # start where the call before did, which went by this slot


# Weights of the predictions, the latest first.
_ADAMS_BASHFORTH = [
    [1],
    [3 / 2, -1 / 2],
    [23 / 12, -16 / 12, 5 / 12],
    [55 / 24, -59 / 24, 37 / 24, -9 / 24],
]


def _calls(timesteps, strides, skip_prk_steps):
    """All calls of a run. Prediction k that the multistep formula goes by is in slot k % 4."""
    begin, done = (_plms_start, 1) if skip_prk_steps else (_runge_kutta_start, 3)
    calls = begin(timesteps, strides)
    for k in range(done, len(timesteps)):
        weights = _ADAMS_BASHFORTH[min(k, 3)]
        mixture = sum(weight * PAST[(k - back) % 4] for back, weight in enumerate(weights))
        t = timesteps[k]
        calls.append(_Call(t, leaves=t, reaches=t - strides[k], slot=k % 4, mixture=mixture))
    return calls


def _plms_start(timesteps, strides):
    """One step, which is then taken again by the mean of the predictions at both its ends."""
    t, after = timesteps[0], timesteps[0] - strides[0]
    calls = [_Call(t, leaves=t, reaches=after, slot=0, mixture=PAST[0])]
    if len(timesteps) > 1:
        t, mean = timesteps[1], (PAST[0] + OUTPUT) / 2
        calls.append(_Call(t, leaves=t + strides[0], reaches=t, slot=1, mixture=mean, undo=0))
    return calls


def _runge_kutta_start(timesteps, strides):
    """Three steps of four calls. The first prediction of each stays, in slots 0, 1 and 2."""
    calls = []
    for k in range(3):
        t, after, half = timesteps[k], timesteps[k + 1], strides[k] // 2
        middle = after + half
        mean = (PAST[k] + 2 * PAST[3] + 2 * PAST[4] + OUTPUT) / 6
        calls += [
            _Call(t, leaves=t, reaches=t - half, slot=k, mixture=PAST[k]),
            _Call(middle, leaves=t, reaches=middle, slot=3, mixture=PAST[3], undo=k),
            _Call(middle, leaves=t, reaches=after, slot=4, mixture=PAST[4], undo=3),
            _Call(after, leaves=t, reaches=after, slot=5, mixture=mean, undo=4),
        ]
    return calls


def _transfer(prediction, a, after):
    """(p, q): p x + q prediction is x taken from level `a` to `after` (equation 11)."""
    of_x, of_prediction = predictions.linear(prediction, "epsilon", np.sqrt(a), np.sqrt(1 - a))
    of_epsilon = (a - after) / (a * np.sqrt(1 - after) + np.sqrt(a * (1 - a) * after))
    return np.sqrt(after / a) + of_epsilon * of_x, of_epsilon * of_prediction
