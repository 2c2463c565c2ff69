import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.train import schedules
from tests import golden

# torch's name -> ours, of schedules and of their options where they differ.
NAMES = {
    "StepLR": "step",
    "MultiStepLR": "multistep",
    "ExponentialLR": "exponential",
    "PolynomialLR": "polynomial",
    "CosineAnnealingLR": "cosine",
    "CosineAnnealingWarmRestarts": "cosine_restarts",
    "OneCycleLR": "one_cycle",
    "CyclicLR": "cyclic",
    "LinearLR": "linear_warmup",
    "ConstantLR": "constant_warmup",
}
OPTIONS = {
    "T_max": "total_steps",
    "total_iters": "total_steps",
    "T_0": "first_steps",
    "T_mult": "growth",
    "eta_min": "min_lr",
    "start_factor": "factor",
    "max_lr": "lr",
    "pct_start": "rise_fraction",
    "div_factor": "initial_divisor",
    "final_div_factor": "final_divisor",
    "anneal_strategy": "anneal",
    "step_size_up": "rise_steps",
    "step_size_down": "fall_steps",
}


def config_of(**fields):
    """A config's section with the defaults of a run."""
    plain = {
        "name": "constant",
        "lr": 0.1,
        "warmup": "linear",
        "warmup_steps": 0,
        "warmup_factor": 1 / 3,
        "warmup_joined": True,
    }
    return types.SimpleNamespace(**plain | fields)


def translated(options):
    """torch's options under our names."""
    options = dict(options)
    if "epochs" in options:
        options["total_steps"] = options.pop("epochs") * options.pop("steps_per_epoch")
    return {OPTIONS.get(name, name): value for name, value in options.items()}


def config_of_case(arguments):
    """The config of a reference case that is no warm-up alone."""
    lr, name, then = arguments["lr"], arguments["scheduler"], arguments["then"]
    if not then:
        return config_of(name=NAMES[name], **{"lr": lr} | translated(arguments["options"]))
    (warmup, early), (main, late) = then
    early = translated(early)
    return config_of(
        name=NAMES[main],
        lr=lr,
        warmup=NAMES[warmup].removesuffix("_warmup"),
        warmup_steps=early["total_steps"],
        warmup_factor=early["factor"],
        warmup_joined=name == "SequentialLR",
        **translated(late),
    )


def values(schedule, steps):
    got = jax.jit(jax.vmap(schedule))(jnp.arange(steps))
    assert got.dtype == jnp.float32
    return got


@pytest.mark.parametrize(
    "case", golden.cases("training/optimizers.npz", "schedule"), ids=lambda c: c.name
)
def test_schedule_equals_torch(case):
    steps = case.arguments["steps"]
    if case.arguments["scheduler"] in ("LinearLR", "ConstantLR"):
        make = getattr(schedules, NAMES[case.arguments["scheduler"]])
        rate = make(case.arguments["lr"], **translated(case.arguments["options"]))
        momentum = None
    else:
        rate, momentum = schedules.create(config_of_case(case.arguments), steps=steps)

    golden.assert_close(values(rate, steps), case.outputs["lr"], floor=1e-6)
    assert (momentum is None) == ("momentum" not in case.outputs)
    if momentum is not None:
        golden.assert_close(values(momentum, steps), case.outputs["momentum"], floor=1e-6)


@pytest.mark.parametrize("name", ["cosine", "polynomial"])
def test_length_is_by_default_what_the_warm_up_leaves_of_the_run(name):
    joined, _ = schedules.create(config_of(name=name, warmup_steps=4), steps=14)
    alone, _ = schedules.create(config_of(name=name), steps=10)
    under, _ = schedules.create(config_of(name=name, warmup_steps=4, warmup_joined=False), steps=10)
    np.testing.assert_array_equal(values(joined, 14)[4:], values(alone, 10))
    np.testing.assert_array_equal(values(under, 10)[4:], values(alone, 10)[4:])


def test_momentum_waits_for_the_warm_up():
    _, momentum = schedules.create(config_of(name="one_cycle", warmup_steps=5), steps=25)
    _, alone = schedules.create(config_of(name="one_cycle"), steps=20)
    got = values(momentum, 25)
    np.testing.assert_allclose(got[:5], 0.95)
    np.testing.assert_array_equal(got[5:], values(alone, 20))


def test_long_runs_are_exact():
    steps = 1_000_000
    late = jnp.array([1, steps // 2, steps - 1])

    def close(schedule, exact):
        want = [exact(int(step)) for step in late]
        np.testing.assert_allclose(jax.vmap(schedule)(late), want, rtol=3e-6)

    # At the last step 1 + cos(pi t / T) is 5e-12, of which float32 keeps nothing.
    close(
        schedules.cosine(1.0, total_steps=steps),
        lambda t: np.sin(np.pi / 2 * (steps - t) / steps) ** 2,
    )
    close(schedules.polynomial(1.0, total_steps=steps, power=0.9), lambda t: (1 - t / steps) ** 0.9)
    # float32(0.99999) ** 1e6 would be off by 2 %.
    close(schedules.exponential(1.0, gamma=0.99999), lambda t: 0.99999**t)


def test_cosine_restarts_start_again_at_every_power_of_the_growth():
    rate = schedules.cosine_restarts(1.0, first_steps=10, growth=10)
    starts = jnp.array([0, 10, 110, 1110, 11110, 111110, 11111110, 1111111110])
    np.testing.assert_array_equal(jax.vmap(rate)(starts), 1.0)
    assert (jax.vmap(rate)(starts[1:-1] - 1) < 0.03).all()


def test_one_cycle_has_no_nan_however_short():
    for steps in range(1, 8):
        for three_phase in (False, True):
            rate = schedules.one_cycle(1.0, total_steps=steps, three_phase=three_phase)
            assert np.isfinite(values(rate, steps + 3)).all()
    np.testing.assert_allclose(schedules.one_cycle(1.0, total_steps=7)(100), 1 / 25 / 1e4)


def test_rate_is_the_same_for_python_numpy_and_traced_steps():
    rate = schedules.cosine(0.5, total_steps=10)
    for step in (4, np.int64(4), jnp.int32(4)):
        assert rate(step).dtype == jnp.float32
        assert not rate(step).weak_type
        np.testing.assert_allclose(rate(step), 0.25 * (1 + np.cos(0.4 * np.pi)), rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "cosin"}, r"schedule.name is 'cosin'.*Did you mean cosine.*Known: constant, "),
        (
            {"name": "cosine", "gamma": 0.5},
            r"schedule.gamma is 0.5, but 'cosine'.*total_steps, min",
        ),
        (
            {"power": 2.0},
            r"schedule.power is 2.0, but 'constant' has no such option: it takes none",
        ),
        ({"name": "step"}, r"schedule.name='step' needs schedule.step_size"),
        ({"name": "step", "step_size": 0}, r"step_size must be a whole number, 1 or more, got 0"),
        ({"name": "step", "step_size": 1.5}, r"step_size must be a whole number.*got 1.5"),
        ({"name": "multistep", "milestones": (3, -1)}, r"milestones\[1\] must be .* got -1"),
        ({"name": "exponential", "gamma": 0.0}, r"gamma must be a finite number above 0, got 0.0"),
        ({"lr": float("nan")}, r"lr must be a finite number, 0 or more, got nan"),
        ({"name": "one_cycle", "anneal": "cos"}, r"anneal is 'cos'.*Known: cosine, linear"),
        (
            {"name": "one_cycle", "three_phase": True, "rise_fraction": 0.6},
            r"rise_fraction must lie between 0 and 0.5 \(3 phases\), got 0.6",
        ),
        ({"name": "cyclic", "base_lr": 0.01, "mode": "sine"}, r"mode is 'sine'.*Known: triangular"),
        ({"warmup": "cosine"}, r"schedule.warmup is 'cosine'.*Known: linear, constant"),
        ({"warmup_steps": 100}, r"schedule.warmup_steps must be .* below the run's 100 steps, got"),
    ],
)
def test_error_names_the_field_and_the_way_out(fields, message):
    with pytest.raises(ValueError, match=message):
        schedules.create(config_of(**fields), steps=100)


def test_sequential_wants_a_start_for_each_schedule_but_the_first():
    with pytest.raises(ValueError, match=r"milestones must be one fewer .* 1: .*; got 2"):
        schedules.sequential([schedules.constant(1.0)] * 2, milestones=[3, 5])


def test_repeated_options_have_equal_defaults():
    # A rate and its momentum read the same option of the config.
    pairs = [
        (schedules.one_cycle, schedules.one_cycle_momentum),
        (schedules.cyclic, schedules.cyclic_momentum),
    ]
    for pair in pairs:
        rate, momentum = (inspect.signature(function).parameters for function in pair)
        for name in rate.keys() & momentum.keys():
            assert rate[name].default == momentum[name].default, name
