"""Learning-rate schedules: functions that return step -> rate.

`step` is the number of updates done so far (0 for the first), an integer or a traced int32; the
rate is a float32 scalar. All equal torch.optim.lr_scheduler's class of the same name, in closed
form, to float32 rounding. Steps are counted in integers until the last division, and powers go
through a logarithm taken in float64, so that nothing drifts in a long run.
"""

import functools
import math
import numbers
import operator

import jax.numpy as jnp
import numpy as np
import optax

from jaxcv.train import options


def create(config, *, steps):
    """The rate and the momentum of a run: (step -> rate, step -> momentum or None).

    Args:
        config: an object with the attributes `name` (a key of `SCHEDULES`), `lr`, the options of
            the schedules (None: the schedule's default; for `total_steps` the steps of the run
            that the schedule has), and of the warm-up: `warmup` ("linear" or "constant"),
            `warmup_steps` (0: none), `warmup_factor` (the first rate over `lr`) and
            `warmup_joined` (True: the schedule starts after the warm-up, as torch's SequentialLR;
            False: at step 0 and is multiplied by it, as ChainedScheduler).
        steps: updates in the run.

    Returns:
        The momentum is None unless the schedule is "one_cycle" or "cyclic" and
        `config.cycle_momentum` is not False.

    Raises:
        ValueError: an unknown name, an option that the schedule does not take, a value out of
            range, or a warm-up as long as the run.
    """
    make_rate = options.choose(SCHEDULES, config.name, field="schedule.name")
    make_momentum = _MOMENTA.get(config.name)
    if not 0 <= config.warmup_steps < steps:
        raise ValueError(
            f"schedule.warmup_steps must be at least 0 and below the run's {steps} steps,"
            f" got {config.warmup_steps}."
        )
    delay = config.warmup_steps if config.warmup_joined else 0

    makers = [make_rate, make_momentum] if make_momentum else [make_rate]
    defaults = options.keywords(*makers)
    if "total_steps" in defaults:
        defaults["total_steps"] = steps - delay
    if make_momentum:
        defaults["cycle_momentum"] = True
    values = options.read(config, defaults, every=_OPTIONS, section="schedule")

    def made(maker, *arguments):
        return maker(*arguments, **{name: values[name] for name in options.keywords(maker)})

    rate = _warmed_up(made(make_rate, config.lr), config)
    if not values.get("cycle_momentum", False):
        return rate, None
    momentum = made(make_momentum)
    return rate, lambda step: momentum(jnp.maximum(step - delay, 0))


def constant(lr):
    """step -> `lr`."""
    _check_rates(lr=lr)
    return _schedule(lambda step: lr)


def step(lr, *, step_size, gamma=0.1):
    """step -> `lr`, multiplied by `gamma` every `step_size` steps. Source: torch's StepLR."""
    _check_rates(lr=lr)
    _check_steps(step_size=step_size)
    _check_positive(gamma=gamma)
    return _schedule(lambda step: lr * _power(gamma, step // step_size))


def multistep(lr, *, milestones, gamma=0.1):
    """step -> `lr`, multiplied by `gamma` at each of `milestones`, at a repeated one repeatedly.

    Source: torch's MultiStepLR.
    """
    _check_rates(lr=lr)
    _check_steps(**{f"milestones[{i}]": milestone for i, milestone in enumerate(milestones)})
    _check_positive(gamma=gamma)
    rates = np.array([lr * gamma**passed for passed in range(len(milestones) + 1)], np.float32)
    milestones = np.array(milestones, np.int32)
    return _schedule(lambda step: jnp.asarray(rates)[jnp.sum(step >= milestones)])


def exponential(lr, *, gamma):
    """step -> `lr`, multiplied by `gamma` every step. Source: torch's ExponentialLR."""
    _check_rates(lr=lr)
    _check_positive(gamma=gamma)
    return _schedule(lambda step: lr * _power(gamma, step))


def polynomial(lr, *, total_steps, power=1.0):
    """step -> `lr` times (the part of `total_steps` that is left) ** `power`; 0 after them.

    Source: torch's PolynomialLR (total_iters).
    """
    _check_rates(lr=lr, power=power)
    _check_steps(total_steps=total_steps)
    return _schedule(lambda step: lr * (jnp.maximum(total_steps - step, 0) / total_steps) ** power)


def cosine(lr, *, total_steps, min_lr=0.0):
    """step -> half a cosine from `lr` down to `min_lr` at `total_steps`, after which it rises.

    Source: torch's CosineAnnealingLR (T_max, eta_min).
    """
    _check_rates(lr=lr, min_lr=min_lr)
    _check_steps(total_steps=total_steps)

    def rate(step):
        left = (total_steps - step % (2 * total_steps)) / total_steps  # from 1 to -1
        return min_lr + (lr - min_lr) * _half_cosine(left)

    return _schedule(rate)


def cosine_restarts(lr, *, first_steps, growth=1, min_lr=0.0):
    """step -> half cosines from `lr` down to `min_lr`, each starting again at `lr`.

    Args:
        lr: the rate at the start of each half cosine.
        first_steps: length of the first one.
        growth: each is this many times as long as the one before, a whole number.
        min_lr: where each would end.

    Source: torch's CosineAnnealingWarmRestarts (T_0, T_mult, eta_min).
    """
    _check_rates(lr=lr, min_lr=min_lr)
    _check_steps(first_steps=first_steps, growth=growth)
    starts, lengths = [0], [first_steps]
    while growth > 1 and starts[-1] + lengths[-1] < 2**31:  # all that an int32 step can reach
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * growth)
    starts, lengths = np.array(starts, np.int32), np.array(lengths, np.float32)

    def rate(step):
        if growth == 1:
            place, length = step % first_steps, first_steps
        else:
            cycle = jnp.sum(step >= starts) - 1
            place, length = step - jnp.asarray(starts)[cycle], jnp.asarray(lengths)[cycle]
        return min_lr + (lr - min_lr) * _half_cosine((length - place) / length)

    return _schedule(rate)


def one_cycle(
    lr,
    *,
    total_steps,
    rise_fraction=0.3,
    initial_divisor=25.0,
    final_divisor=1e4,
    anneal="cosine",
    three_phase=False,
):
    """step -> a rate that rises to `lr` and falls far below where it started.

    Args:
        lr: the highest rate.
        total_steps: length of the cycle; after it the last rate stays (torch: an error).
        rise_fraction: part of the steps in which the rate rises.
        initial_divisor: `lr` over the first rate.
        final_divisor: the first rate over the last.
        anneal: "cosine" or "linear".
        three_phase: fall to the first rate in as many steps as the rise took, and only then to
            the last one.

    Source: torch's OneCycleLR (max_lr, pct_start, div_factor, final_div_factor,
    anneal_strategy); Smith and Topin, "Super-convergence", 2017.
    """
    _check_rates(lr=lr)
    _check_positive(initial_divisor=initial_divisor, final_divisor=final_divisor)
    first = lr / initial_divisor
    values = [first, lr] + [first] * three_phase + [first / final_divisor]
    return _phases(values, total_steps, rise_fraction, anneal)


def one_cycle_momentum(
    *,
    total_steps,
    rise_fraction=0.3,
    anneal="cosine",
    three_phase=False,
    base_momentum=0.85,
    max_momentum=0.95,
):
    """step -> the momentum beside `one_cycle`: `max_momentum`, lowest where the rate is highest."""
    _check_rates(base_momentum=base_momentum, max_momentum=max_momentum)
    values = [max_momentum, base_momentum] + [max_momentum] * (1 + three_phase)
    return _phases(values, total_steps, rise_fraction, anneal)


def cyclic(lr, *, base_lr, rise_steps=2000, fall_steps=None, mode="triangular", gamma=1.0):
    """step -> triangles between `base_lr` and `lr`, for ever.

    Args:
        lr: the highest rate.
        base_lr: the lowest rate.
        rise_steps: steps from `base_lr` up to `lr`.
        fall_steps: steps back down; as many as `rise_steps` where None.
        mode: the height of a triangle: "triangular" always the same, "triangular2" halved from
            one to the next, "exp_range" times `gamma` ** step.
        gamma: of "exp_range".

    Source: torch's CyclicLR (max_lr, step_size_up, step_size_down); Smith, "Cyclical learning
    rates for training neural networks", 2015.
    """
    _check_rates(lr=lr, base_lr=base_lr)
    height = _triangles(rise_steps, fall_steps, mode, gamma)
    return _schedule(lambda step: base_lr + (lr - base_lr) * height(step))


def cyclic_momentum(
    *,
    rise_steps=2000,
    fall_steps=None,
    mode="triangular",
    gamma=1.0,
    base_momentum=0.8,
    max_momentum=0.9,
):
    """step -> the momentum beside `cyclic`: `max_momentum` where the rate is lowest."""
    _check_rates(base_momentum=base_momentum, max_momentum=max_momentum)
    height = _triangles(rise_steps, fall_steps, mode, gamma)
    return _schedule(lambda step: max_momentum - (max_momentum - base_momentum) * height(step))


def linear_warmup(lr, *, total_steps=5, factor=1 / 3, end_factor=1.0):
    """step -> a line from `factor` * `lr` to `end_factor` * `lr` at `total_steps`, then flat.

    Source: torch's LinearLR (total_iters, start_factor).
    """
    _check_rates(lr=lr, factor=factor)
    _check_steps(total_steps=total_steps)

    def rate(step):
        part = jnp.minimum(step, total_steps) / total_steps
        return lr * (factor + (end_factor - factor) * part)

    return _schedule(rate)


def constant_warmup(lr, *, total_steps=5, factor=1 / 3):
    """step -> `factor` * `lr` for `total_steps`, then `lr`. Source: torch's ConstantLR."""
    _check_rates(lr=lr, factor=factor)
    _check_steps(total_steps=total_steps)
    return _schedule(lambda step: jnp.where(step < total_steps, factor * lr, lr))


def sequential(schedules, *, milestones):
    """step -> the rate of one schedule after the other; each counts its steps from its own start.

    Args:
        schedules: the schedules in order.
        milestones: the step at which the second starts, the third, ...

    Source: torch's SequentialLR.
    """
    if len(milestones) != len(schedules) - 1:
        raise ValueError(
            f"milestones must be one fewer than the schedules, {len(schedules) - 1}: the start of"
            f" each but the first; got {len(milestones)}."
        )
    return _schedule(optax.join_schedules(schedules, milestones))


def chained(schedules):
    """step -> the product of all schedules: one of a rate, the others of factors (rate 1).

    Source: torch's ChainedScheduler, where the schedules end at 0 (a cosine with `min_lr` under a
    warm-up differs: torch multiplies the steps' ratios).
    """
    return _schedule(
        lambda step: functools.reduce(operator.mul, (schedule(step) for schedule in schedules))
    )


SCHEDULES = {
    "constant": constant,
    "step": step,
    "multistep": multistep,
    "exponential": exponential,
    "polynomial": polynomial,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "one_cycle": one_cycle,
    "cyclic": cyclic,
}
_MOMENTA = {"one_cycle": one_cycle_momentum, "cyclic": cyclic_momentum}
_WARMUPS = {"linear": linear_warmup, "constant": constant_warmup}
_OPTIONS = [*options.keywords(*SCHEDULES.values(), *_MOMENTA.values()), "cycle_momentum"]


def _warmed_up(rate, config):
    """`rate` behind (`warmup_joined`) or under the warm-up of `config`."""
    warmup = options.choose(_WARMUPS, config.warmup, field="schedule.warmup")
    if config.warmup_steps == 0:
        return rate
    warmup = functools.partial(warmup, total_steps=config.warmup_steps, factor=config.warmup_factor)
    if config.warmup_joined:
        return sequential([warmup(config.lr), rate], milestones=[config.warmup_steps])
    return chained([warmup(1.0), rate])


def _schedule(function):
    """`function` with a step of any integer type -> a float32 scalar, never weakly typed."""
    return lambda step: jnp.asarray(function(jnp.asarray(step, jnp.int32)), jnp.float32)


def _power(base, exponent):
    """`base` ** an integer array. float32's rounding of `base` itself would grow with it."""
    return jnp.exp(exponent * math.log(base))


def _half_cosine(left):
    """1 at `left` = 1, 0 at `left` = 0 and exact to float32 near it, where 1 + cos cancels."""
    return jnp.sin(math.pi / 2 * left) ** 2


_ANNEALS = {"cosine": _half_cosine, "linear": lambda left: left}


def _phases(values, total_steps, rise_fraction, anneal):
    """step -> values[0] to values[1] to ...: the phases of `one_cycle`."""
    _check_steps(total_steps=total_steps)
    anneal = options.choose(_ANNEALS, anneal, field="anneal")
    falls = len(values) - 2
    if not 0 < rise_fraction < 1 / falls:
        raise ValueError(
            f"rise_fraction must lie between 0 and {1 / falls:g} ({1 + falls} phases),"
            f" got {rise_fraction!r}."
        )
    peak = rise_fraction * total_steps - 1
    ends = [0, peak, 2 * peak][: 1 + falls] + [total_steps - 1]

    def rate(step):
        value = values[-1]
        for i in reversed(range(len(ends) - 1)):
            begin, end = ends[i], ends[i + 1]
            left = (end - step) / max(end - begin, 1e-6)  # a short cycle has phases of no length
            value = jnp.where(
                step <= end, values[i + 1] + (values[i] - values[i + 1]) * anneal(left), value
            )
        return value

    return _schedule(rate)


def _triangles(rise_steps, fall_steps, mode, gamma):
    """step -> 0 at the start, the triangle's height after `rise_steps`, 0 after `fall_steps`."""
    fall_steps = rise_steps if fall_steps is None else fall_steps
    _check_steps(rise_steps=rise_steps, fall_steps=fall_steps)
    _check_positive(gamma=gamma)
    period = rise_steps + fall_steps
    heights = {
        "triangular": lambda step: 1.0,
        "triangular2": lambda step: _power(0.5, step // period),
        "exp_range": lambda step: _power(gamma, step),
    }
    height = options.choose(heights, mode, field="mode")

    def triangle(step):
        place = step % period
        part = jnp.where(place < rise_steps, place / rise_steps, (period - place) / fall_steps)
        return part * height(step)

    return triangle


def _check_rates(**values):
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number, 0 or more, got {value!r}.")


def _check_positive(**values):
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}.")


def _check_steps(**values):
    for name, value in values.items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}.")
