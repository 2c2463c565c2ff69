"""Which timesteps a sampler visits, and the noise levels of those that think in sigmas.

All of it is NumPy in float64. sigma is the noise beside an image of scale 1, sqrt((1 - a) / a).
"""

import numbers

import numpy as np

from jaxcv.samplers.choose import check_known, check_whole, choose
from jaxcv.samplers.schedule import Schedule


def visited(schedule, steps, *, spacing, offset, whole=True):
    """The timesteps of a run, falling: [steps] float64.

    Args:
        steps: how many; or the timesteps themselves, falling.
        spacing: "leading" (multiples of T // steps), "linspace" (from T - 1 to 0) or "trailing"
            (T - 1 and every T / steps below it).
        offset: added to all of "leading".
        whole: whether "linspace" is rounded to whole timesteps.

    Raises:
        ValueError: more steps than timesteps, timesteps out of range, an unknown spacing, ...
    """
    check_steps(schedule, steps)
    space = choose(_SPACINGS, spacing, argument="spacing")
    if not isinstance(steps, numbers.Integral):
        return _given(schedule, steps, offset, whole)
    spaced = space(len(schedule), steps, whole)
    return _moved(schedule, spaced, spacing, offset)


def visited_by_dpm_solver(schedule, steps, *, spacing, offset, lambda_min):
    """As `visited`, the way diffusers spaces DPM-Solver: over steps + 1 points without the last.

    Args:
        lambda_min: timesteps whose log(sqrt(a) / sqrt(1 - a)) is below it are left out.
    """
    check_steps(schedule, steps)
    check_known(_SPACINGS, spacing, argument="spacing")
    if not isinstance(steps, numbers.Integral):
        return _given(schedule, steps, offset, whole=True)
    count = int(np.sum(-np.log(sigma_table(schedule)) >= lambda_min))
    if count == 0:
        raise ValueError(f"lambda_min must leave timesteps, got {lambda_min}.")
    if spacing == "linspace":
        spaced = np.linspace(0, count - 1, steps + 1).round()[:0:-1]
    elif spacing == "leading":
        spaced = (np.arange(steps + 1) * (count // (steps + 1)))[:0:-1]
    else:
        spaced = (count - np.arange(steps) * (len(schedule) / steps)).round() - 1
        spaced = spaced[spaced >= 0]
    if np.any(np.diff(spaced) >= 0):
        raise ValueError(f"steps must be fewer for {count} timesteps, got {steps}.")
    return _moved(schedule, spaced, spacing, offset)


def check_steps(schedule, steps):
    """Nothing, for a number of steps that the schedule has timesteps for, or a sequence of them.

    Raises:
        ValueError: 0 steps, more steps than timesteps, no Schedule.
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(
            f"schedule must be a Schedule, got {schedule!r}: use noise_schedule(name), or"
            " Schedule(betas)."
        )
    count = steps
    if not isinstance(steps, numbers.Integral) and np.ndim(steps) == 1:
        count = len(steps)
    check_whole(steps=count)
    if count > len(schedule):
        raise ValueError(
            f"steps must be at most the schedule's {len(schedule)} timesteps, got {count}."
        )


def sigma_table(schedule):
    """[T]: `schedule.sigmas`, finite. At a = 0 it is that of a = 2^-24, as in diffusers."""
    a = np.where(schedule.alphas_cumprod == 0, 2.0**-24, schedule.alphas_cumprod)
    return np.sqrt((1 - a) / a)


def last_sigma(schedule, final_sigma):
    """Where a run in sigmas ends: 0 for "zero", that of timestep 0 for "sigma_min"."""
    check_known(("zero", "sigma_min"), final_sigma, argument="final_sigma")
    return 0.0 if final_sigma == "zero" else sigma_table(schedule)[0]


def check_spaced_by_karras(steps):
    """Nothing, for a number of steps.

    Raises:
        ValueError: a sequence of them.
    """
    if not isinstance(steps, numbers.Integral):
        raise ValueError(f"steps must be a number with karras, which spaces them, got {steps}.")


def starting_at(start, timesteps):
    """`timesteps` from step `start` on.

    Raises:
        ValueError: no step is left.
    """
    check_whole(0, start=start)
    if start >= len(timesteps):
        raise ValueError(f"start must be below the {len(timesteps)} steps, got {start}.")
    return timesteps[start:]


def karras_sigmas(sigma_min, sigma_max, steps, *, rho=7.0):
    """[steps] falling from `sigma_max` to `sigma_min`: sigma^(1 / rho) is equally spaced.

    Source: Karras et al., "Elucidating the design space of diffusion-based generative models",
        2022, equation 5, without the final 0.
    """
    check_whole(steps=steps)
    if not 0 < sigma_min <= sigma_max < np.inf:
        raise ValueError(f"sigmas must be 0 < sigma_min <= sigma_max, got {sigma_min}, {sigma_max}")
    ramp = np.linspace(0, 1, steps)
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return (first + ramp * (last - first)) ** rho


def timesteps_of(sigmas, schedule):
    """The fractional timesteps whose log sigma those are, by interpolation: [N] -> [N]."""
    return np.interp(np.log(sigmas), np.log(sigma_table(schedule)), np.arange(len(schedule)))


def _linspace(count, steps, whole):
    spaced = np.linspace(0, count - 1, steps)[::-1]
    return spaced.round() if whole else spaced


def _leading(count, steps, whole):
    return np.arange(steps)[::-1] * float(count // steps)


def _trailing(count, steps, whole):
    return (count - np.arange(steps) * (count / steps)).round() - 1


_SPACINGS = {"leading": _leading, "linspace": _linspace, "trailing": _trailing}


def _given(schedule, steps, offset, whole):
    if offset:
        raise ValueError(f"offset moves no timesteps that are given, got {offset} with {steps}.")
    timesteps = np.asarray(steps, np.float64)
    if (
        timesteps.ndim != 1
        or np.any(np.diff(timesteps) >= 0)
        or not (timesteps[-1] >= 0 and timesteps[0] <= len(schedule) - 1)
    ):
        raise ValueError(
            f"steps must be a number or timesteps that fall within {len(schedule) - 1}..0,"
            f" got {steps}."
        )
    if whole and np.any(timesteps != timesteps.round()):
        raise ValueError(f"timesteps must be whole for this sampler, got {steps}.")
    return timesteps


def _moved(schedule, spaced, spacing, offset):
    check_whole(0, offset=offset)
    if offset and spacing != "leading":
        raise ValueError(f'offset moves spacing "leading" alone, got {offset} with {spacing!r}.')
    if spaced[0] + offset > len(schedule) - 1:
        raise ValueError(
            f"offset must leave timesteps within {len(schedule) - 1}..0, got {offset} with"
            f" {len(spaced)} steps. Use fewer steps."
        )
    return spaced + offset
