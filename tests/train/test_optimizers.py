import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv.train import optimizers, schedules
from tests import golden

EVERY = sorted(optimizers.OPTIMIZERS)
NEEDED = {"sgd": {"momentum": 0.9}}  # else it has no memory to be tested
PARAMS = {
    "stem": {"kernel": jnp.full((2, 3), 0.5, jnp.float32), "bias": jnp.zeros(3)},
    "head": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
}
GRADIENTS = jax.tree.map(lambda x: jnp.linspace(-1.0, 2.0, x.size).reshape(x.shape), PARAMS)


def config_of(name, **fields):
    """A config's section with the defaults of a run."""
    plain = {
        "maximize": False,
        "clip_global_norm": None,
        "freeze": (),
        "lr_groups": (),
        "weight_decay_exclude": (),
        "weight_decay_min_ndim": 0,
    }
    return types.SimpleNamespace(**plain | {"name": name} | fields)


def created(name="sgd", *, rate=0.1, cycle=None, params=PARAMS, **fields):
    rate = schedules.constant(rate)
    return optimizers.create(config_of(name, **fields), rate, params, momentum=cycle)


def changes_of(optimizer, params=PARAMS, gradients=GRADIENTS):
    """What the first update adds."""
    return optimizer.update(gradients, optimizer.init(params), params)[0]


def assert_trees_close(got, want):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-8), got, want)


def path_of(case):
    """The parameters of a reference case after each step, one row a step."""
    names = ("matrix", "vector", "scalar", "still")
    start, target, curvature, noise = (
        {name: jnp.asarray(case.inputs[f"{kind}.{name}"]) for name in names}
        for kind in ("start", "target", "curvature", "noise")
    )
    options = dict(case.arguments["options"])
    rate = options.pop("lr")
    name = case.arguments["optimizer"].lower()
    optimizer = created(name, rate=rate, params=start, **options)

    def step(carry, noise):
        params, state = carry
        gradients = jax.tree.map(
            lambda x, t, c, n: c * (x - t) + n, params, target, curvature, noise
        )
        gradients["still"] = jnp.zeros_like(params["still"])
        changes, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, changes)
        return (params, state), params

    return jax.jit(lambda: jax.lax.scan(step, (start, optimizer.init(start)), noise)[1])()


@pytest.mark.parametrize(
    "case", golden.cases("training/optimizers.npz", "optimise"), ids=lambda c: c.name
)
def test_optimizer_equals_torch_or_paper(case):
    path = path_of(case)
    kept = np.array(case.arguments["keep"]) - 1
    for name, want in case.outputs.items():
        golden.assert_close(path[name][kept], want, case.error[name], floor=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_state_is_arrays_of_one_kind_and_update_compiles_once(name):
    optimizer = created(name, **NEEDED.get(name, {}))
    state = optimizer.init(PARAMS)
    leaves = jax.tree.leaves(state)
    assert all(isinstance(leaf, jax.Array) and not leaf.weak_type for leaf in leaves)
    counts = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.integer)]
    assert [(count.shape, count.dtype) for count in counts] == [((), jnp.int32)]
    pointers = [leaf.unsafe_buffer_pointer() for leaf in leaves]
    assert len(set(pointers)) == len(pointers)  # else they cannot be donated

    update = jax.jit(optimizer.update)
    for _ in range(3):
        _, state = update(GRADIENTS, state, PARAMS)
    assert update._cache_size() == 1
    assert state.count == 3


@pytest.mark.parametrize("name", ["adadelta", "lars", "nadam", "rprop", "sgd"])
def test_frozen_parameters_stay_and_cost_no_memory(name):
    options = NEEDED.get(name, {})
    optimizer = created(name, freeze=("stem/.*",), **options)
    alone = created(name, params=PARAMS["head"], **options)
    state = jax.eval_shape(optimizer.init, PARAMS)
    alone_state = jax.eval_shape(alone.init, PARAMS["head"])
    assert [x.shape for x in jax.tree.leaves(state)] == [
        x.shape for x in jax.tree.leaves(alone_state)
    ]

    changes = changes_of(optimizer)
    np.testing.assert_array_equal(changes["stem"]["kernel"], 0)
    np.testing.assert_array_equal(changes["stem"]["bias"], 0)
    assert_trees_close(changes["head"], changes_of(alone, PARAMS["head"], GRADIENTS["head"]))


@pytest.mark.parametrize("name", ["adam", "lars", "rprop", "sgd"])
def test_groups_multiply_the_rate_and_the_first_that_matches_counts(name):
    groups = (("head/bias", 0.5), ("head/.*", 3.0))
    got = changes_of(created(name, lr_groups=groups))
    plain, half, triple = (changes_of(created(name, rate=rate)) for rate in (0.1, 0.05, 0.3))
    want = {
        "stem": plain["stem"],
        "head": {"kernel": triple["head"]["kernel"], "bias": half["head"]["bias"]},
    }
    assert_trees_close(got, want)


def test_clip_is_over_what_is_trained():
    # The head's gradients have the squared length 6 * 1 + 2 * 5 = 16; the stem's do not count.
    gradients = {
        "stem": jax.tree.map(lambda x: jnp.full_like(x, 100.0), PARAMS["stem"]),
        "head": {"kernel": jnp.ones((3, 2)), "bias": jnp.full(2, 5.0**0.5)},
    }
    clipped = created(rate=1.0, clip_global_norm=1.0, freeze=("stem/.*",))
    got = changes_of(clipped, gradients=gradients)
    np.testing.assert_allclose(got["head"]["kernel"], -0.25, rtol=1e-6)
    loose = created(rate=1.0, clip_global_norm=5.0, freeze=("stem/.*",))
    np.testing.assert_array_equal(changes_of(loose, gradients=gradients)["head"]["kernel"], -1.0)


@pytest.mark.parametrize("name", ["adagrad", "adamw", "lamb", "lion", "sgd"])
def test_spared_parameters_have_no_weight_decay(name):
    def made(**fields):
        return changes_of(created(name, weight_decay=0.5, **fields))

    every, none = made(), changes_of(created(name, weight_decay=0.0))
    spared = made(weight_decay_exclude=("head/bias",))
    assert_trees_close(spared["stem"], every["stem"])
    assert_trees_close(spared["head"]["kernel"], every["head"]["kernel"])
    assert_trees_close(spared["head"]["bias"], none["head"]["bias"])

    matrices = made(weight_decay_min_ndim=2)
    assert_trees_close(matrices["head"]["kernel"], every["head"]["kernel"])
    assert_trees_close(matrices["head"]["bias"], none["head"]["bias"])


def test_lars_without_decay_by_hand():
    # |x| = sqrt 2, |g| = 2 sqrt 2: without decay the ratio is 0.1 / 2, with 0.1 / (2 + 1).
    params = {"plain": jnp.ones(2), "decayed": jnp.ones(2)}
    gradients = {"plain": jnp.full(2, 2.0), "decayed": jnp.full(2, 2.0)}
    optimizer = created(
        "lars",
        rate=1.0,
        params=params,
        trust=0.1,
        weight_decay=1.0,
        weight_decay_exclude=("plain",),
    )
    got = changes_of(optimizer, params, gradients)
    np.testing.assert_allclose(got["plain"], -0.05 * 2, rtol=1e-6)
    np.testing.assert_allclose(got["decayed"], -0.1 / 3 * (2 + 1), rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "lars", "adam", "lion"])
def test_momentum_schedule_overrides_the_option(name):
    def second_change(value, cycle=None):
        option = {"momentum": value} if name in ("sgd", "lars") else {"betas": (value, 0.5)}
        optimizer = created(name, **option, cycle=cycle)
        _, state = optimizer.update(GRADIENTS, optimizer.init(PARAMS), PARAMS)
        second = jax.tree.map(lambda g: 0.1 - 0.5 * g, GRADIENTS)
        return optimizer.update(second, state, PARAMS)[0]

    got = second_change(0.3, schedules.constant(0.7))
    assert_trees_close(got, second_change(0.7))
    assert not np.allclose(got["stem"]["kernel"], second_change(0.3)["stem"]["kernel"])


def test_centered_rmsprop_has_no_nan_where_rounding_makes_a_variance_negative():
    optimizer = created("rmsprop", alpha=0.5, centered=True)
    state, params = optimizer.init(PARAMS), PARAMS
    gradients = jax.tree.map(lambda x: jnp.full_like(x, 0.1), PARAMS)
    for _ in range(60):
        changes, state = jax.jit(optimizer.update)(gradients, state, params)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(changes))


def test_rate_is_that_of_the_updates_done():
    rate = schedules.multistep(1.0, milestones=(1, 2), gamma=0.1)
    optimizer = optimizers.create(config_of("sgd"), rate, PARAMS)
    state = optimizer.init(PARAMS)
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    for want in (-1.0, -0.1, -0.01):
        changes, state = optimizer.update(ones, state, PARAMS)
        np.testing.assert_allclose(changes["head"]["bias"], want, rtol=1e-6)


def test_radam_takes_a_beta_of_zero():
    changes = changes_of(created("radam", betas=(0.0, 0.0)))  # never rectified: plain descent
    assert_trees_close(changes, jax.tree.map(lambda g: -0.1 * g, GRADIENTS))


def test_shapes_are_enough_to_create():
    shapes = jax.eval_shape(lambda: PARAMS)
    assert_trees_close(changes_of(created("adamw", params=shapes)), changes_of(created("adamw")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "adm"}, r"optimizer.name is 'adm'.*Did you mean adam.*Known: sgd, adam"),
        ({"name": "adam", "momentum": 0.9}, r"optimizer.momentum is 0.9, but 'adam' .* betas, eps"),
        ({"name": "rprop", "weight_decay": 0.1}, r"'rprop' has no such option.*etas, step_sizes"),
        ({"nesterov": True}, r"optimizer.nesterov needs a momentum above 0 .* got momentum=0.0"),
        ({"momentum": 1.0}, r"optimizer.momentum must be at least 0 and below 1, got 1.0"),
        ({"name": "adam", "betas": (0.9,)}, r"optimizer.betas must be two numbers, got \(0.9,\)"),
        ({"name": "adam", "betas": (0.9, 1.5)}, r"optimizer.betas must be .* got \(0.9, 1.5\)"),
        ({"name": "adam", "eps": -1.0}, r"optimizer.eps must be at least 0, got -1.0"),
        ({"clip_global_norm": 0.0}, r"optimizer.clip_global_norm must be above 0 or None, got 0.0"),
        ({"freeze": ("stem",)}, r"optimizer.freeze has 'stem', which .* as stem/bias, stem/kernel"),
        ({"freeze": ("head/kernal",)}, r"'head/kernal', which matches no .* as head/kernel"),
        ({"freeze": "stem/.*"}, r"optimizer.freeze must be a tuple of patterns, got 'stem/.\*'"),
        ({"lr_groups": ("head/.*", 2.0)}, r"optimizer.lr_groups must be \(\(pattern, multiplier"),
        ({"name": "rprop", "etas": (1.2, 0.5)}, r"optimizer.etas must be .* got \(1.2, 0.5\)"),
        ({"freeze": (".*",)}, r"optimizer.freeze leaves nothing to train"),
        ({"lr_groups": (("stm/.*", 2.0),)}, r"optimizer.lr_groups has 'stm/.\*', which matches no"),
        ({"weight_decay_exclude": ("(",)}, r"weight_decay_exclude has '\(', not a regular expr"),
    ],
)
def test_error_names_the_field_and_the_way_out(fields, message):
    with pytest.raises(ValueError, match=message):
        created(**fields)


def test_momentum_schedule_for_an_optimizer_without_momentum_is_refused():
    with pytest.raises(ValueError, match=r"'adagrad' has none. Set schedule.cycle_momentum to F"):
        created("adagrad", cycle=schedules.constant(0.9))
