"""Optimisers by name, with torch's conventions and defaults, and what any of them can be given:
frozen parameters, rates by group, clipping, parameters without weight decay.

Equal to torch.optim's class of the same name to float32 rounding; lion, lars and lamb to the
formulae of their papers. A pattern is a regular expression that must match a whole path of a
parameter, its keys joined by "/": "conv1/bias", "layer1\\.0/.*", ".*/bias".
"""

import difflib
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcv.train import options, transforms


class State(NamedTuple):
    """What an optimiser remembers; frozen parameters are None in the trees of `inner`."""

    count: Any  # int32 scalar, updates done
    inner: Any  # of the chain of transformations


def create(config, rate, params, *, momentum=None):
    """The optimiser of a config, an `optax.GradientTransformation`.

    Args:
        config: an object with the attributes `name` (a key of `OPTIMIZERS`), the options of the
            optimisers (None: the optimiser's default, torch's), and these, for all of them:
            `maximize` (climb instead of descend), `clip_global_norm` (longest gradient, over all
            trained parameters as one vector; None: any), `freeze` (patterns of parameters that
            stay as they are and cost no memory here), `lr_groups` ((pattern, multiplier) pairs,
            the first that matches multiplies the rate), `weight_decay_exclude` (patterns of
            parameters without weight decay) and `weight_decay_min_ndim` (parameters of fewer
            dimensions have none either: 2 spares biases and the scales of norms). lars and lamb
            scale a spared parameter's step by layer all the same.
        rate: step -> learning rate (the schedules of `train.schedules`).
        params: the parameters or their shapes (`jax.eval_shape`): a tree of dicts.
        momentum: step -> momentum, in place of the config's `momentum` or first of `betas`.

    Returns:
        `init(params)` and `update(gradients, state, params)`; params are required. The state is a
        `State`, arrays alone. A gradient that is always 0 makes no nan while eps is above 0.

    Raises:
        ValueError: an unknown name, an option that the optimiser does not take or that is out of
            range, a pattern that matches no parameter, nothing left to train.
    """
    build = options.choose(OPTIMIZERS, config.name, field="optimizer.name")
    values = options.read(config, options.keywords(build), every=_OPTIONS, section="optimizer")
    _check_ranges(values | {"clip_global_norm": config.clip_global_norm})
    if momentum is not None:
        values = _with_momentum(values, momentum, config.name)

    paths = _paths(params)
    frozen = _matching(config.freeze, paths, "freeze")
    trained = jax.tree.map(lambda path: path not in frozen, paths)
    if not any(jax.tree.leaves(trained)):
        raise ValueError("optimizer.freeze leaves nothing to train: it matches every parameter.")

    def keep(tree):
        """The tree with None, which is no leaf, in place of what is frozen."""
        return jax.tree.map(lambda x, wanted: x if wanted else None, tree, trained)

    multipliers = keep(_multipliers(config.lr_groups, paths))
    chain = optax.chain(
        optax.identity()
        if config.clip_global_norm is None
        else optax.clip_by_global_norm(config.clip_global_norm),
        optax.scale(-1.0) if config.maximize else optax.identity(),
        build(keep(_decayed(config, params, paths)), **values),
    )

    def init(params):
        return State(jnp.zeros((), jnp.int32), chain.init(keep(params)))

    def update(gradients, state, params):
        now = jnp.asarray(rate(state.count), jnp.float32)
        changes, inner = chain.update(
            keep(gradients),
            state.inner,
            keep(params),
            count=state.count,
            rate=jax.tree.map(lambda multiplier: now * multiplier, multipliers),
        )
        changes = jax.tree.map(lambda x, c: jnp.zeros_like(x) if c is None else c, params, changes)
        return changes, State(state.count + 1, inner)

    return optax.GradientTransformation(init, update)


def _sgd(decayed, *, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0):
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            "optimizer.nesterov needs a momentum above 0 and a dampening of 0, got"
            f" momentum={momentum}, dampening={dampening}."
        )
    return optax.chain(
        _decay(weight_decay, decayed),
        _momentum_sum(momentum, dampening=dampening, nesterov=nesterov),
        transforms.apply_rate(),
    )


def _adam(
    decayed,
    *,
    betas=(0.9, 0.999),
    eps=1e-8,
    amsgrad=False,
    weight_decay=0.0,
    decoupled_weight_decay=False,
):
    adam = transforms.adam(betas, eps=eps, amsgrad=amsgrad)
    return _decayed_direction(adam, decayed, weight_decay, decoupled_weight_decay)


def _adamw(decayed, *, betas=(0.9, 0.999), eps=1e-8, amsgrad=False, weight_decay=0.01):
    adam = transforms.adam(betas, eps=eps, amsgrad=amsgrad)
    return _decayed_direction(adam, decayed, weight_decay, True)


def _adamax(decayed, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    return _decayed_direction(transforms.adamax(betas, eps=eps), decayed, weight_decay, False)


def _nadam(
    decayed,
    *,
    betas=(0.9, 0.999),
    eps=1e-8,
    momentum_decay=4e-3,
    weight_decay=0.0,
    decoupled_weight_decay=False,
):
    nadam = transforms.nadam(betas, eps=eps, momentum_decay=momentum_decay)
    return _decayed_direction(nadam, decayed, weight_decay, decoupled_weight_decay)


def _radam(
    decayed,
    *,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    decoupled_weight_decay=False,
):
    radam = transforms.radam(betas, eps=eps)
    return _decayed_direction(radam, decayed, weight_decay, decoupled_weight_decay)


def _rmsprop(decayed, *, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, weight_decay=0.0):
    return optax.chain(
        _decay(weight_decay, decayed),
        transforms.rms(alpha, eps=eps, centered=centered),
        _momentum_sum(momentum),
        transforms.apply_rate(),
    )


def _adagrad(decayed, *, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, weight_decay=0.0):
    adagrad = transforms.adagrad(
        eps=eps, lr_decay=lr_decay, initial_accumulator_value=initial_accumulator_value
    )
    return _decayed_direction(adagrad, decayed, weight_decay, False)


def _adadelta(decayed, *, rho=0.9, eps=1e-6, weight_decay=0.0):
    return _decayed_direction(optax.scale_by_adadelta(rho, eps), decayed, weight_decay, False)


def _rprop(decayed, *, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0)):
    del decayed  # no weight decay
    if not 0 < etas[0] < 1 < etas[1]:
        raise ValueError(f"optimizer.etas must be one in 0..1 and one above 1, got {etas!r}.")
    return transforms.rprop(etas=etas, step_sizes=step_sizes)


def _lion(decayed, *, betas=(0.9, 0.99), weight_decay=0.0):
    return _decayed_direction(transforms.lion(betas), decayed, weight_decay, True)


def _lars(decayed, *, momentum=0.9, trust=1e-3, weight_decay=0.0):
    return optax.chain(
        transforms.lars_trust(trust, weight_decay=weight_decay, decayed=decayed),
        transforms.apply_rate(),
        _momentum_sum(momentum),  # of changes: a rate that falls leaves old ones as they were
    )


def _lamb(decayed, *, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
    return optax.chain(
        transforms.adam(betas, eps=eps),
        _decay(weight_decay, decayed),
        optax.scale_by_trust_ratio(),
        transforms.apply_rate(),
    )


OPTIMIZERS = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
    "adamax": _adamax,
    "nadam": _nadam,
    "radam": _radam,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rprop": _rprop,
    "lion": _lion,
    "lars": _lars,
    "lamb": _lamb,
}
_OPTIONS = list(options.keywords(*OPTIMIZERS.values()))


def _decayed_direction(direction, decayed, weight_decay, decoupled):
    """Direction, decay and rate: the decay joins the gradient or, decoupled, the direction."""
    decay = _decay(weight_decay, decayed)
    order = (direction, decay) if decoupled else (decay, direction)
    return optax.chain(*order, transforms.apply_rate())


def _decay(weight_decay, decayed):
    if weight_decay == 0:
        return optax.identity()
    return optax.add_decayed_weights(weight_decay, mask=decayed)


def _momentum_sum(momentum, **how):
    return optax.identity() if momentum == 0 else transforms.momentum_sum(momentum, **how)


def _with_momentum(values, momentum, name):
    if "momentum" in values:
        return values | {"momentum": momentum}
    if "betas" in values:
        return values | {"betas": (momentum, values["betas"][1])}
    raise ValueError(
        f"schedule.cycle_momentum changes the momentum, but optimizer.name={name!r} has none. Set"
        " schedule.cycle_momentum to False or choose another optimiser."
    )


_BELOW_1 = ("momentum", "betas", "alpha", "rho")
_AT_LEAST_0 = (
    "eps",
    "initial_accumulator_value",
    "lr_decay",
    "momentum_decay",
    "trust",
    "weight_decay",
)


def _check_ranges(values):
    for name, value in values.items():
        pair = name in ("betas", "etas", "step_sizes")
        if pair and (len(value) != 2 or not all(map(_is_number, value))):
            raise ValueError(f"optimizer.{name} must be two numbers, got {value!r}.")
        parts = value if pair else (value,)
        if name in _BELOW_1 and not all(0 <= part < 1 for part in parts):
            raise ValueError(f"optimizer.{name} must be at least 0 and below 1, got {value!r}.")
        if name in _AT_LEAST_0 and not value >= 0:
            raise ValueError(f"optimizer.{name} must be at least 0, got {value!r}.")
    norm = values["clip_global_norm"]
    if norm is not None and not norm > 0:
        raise ValueError(f"optimizer.clip_global_norm must be above 0 or None, got {norm!r}.")


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _paths(params):
    """The tree with each parameter's path in its place."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"), params
    )


def _decayed(config, params, paths):
    """Tree of bool: which parameters have weight decay."""
    spared = _matching(config.weight_decay_exclude, paths, "weight_decay_exclude")
    least = config.weight_decay_min_ndim
    return jax.tree.map(lambda x, path: x.ndim >= least and path not in spared, params, paths)


def _multipliers(groups, paths):
    """Tree of float: what the rate of each parameter is multiplied by."""
    pairs = all(isinstance(group, (tuple, list)) and len(group) == 2 for group in groups)
    if not pairs or not all(_is_number(multiplier) for _, multiplier in groups):
        raise ValueError(
            f"optimizer.lr_groups must be ((pattern, multiplier), ...), got {groups!r}."
        )
    multiplier_of = {}
    for pattern, multiplier in groups:
        for path in _matching([pattern], paths, "lr_groups"):
            multiplier_of.setdefault(path, multiplier)
    return jax.tree.map(lambda path: multiplier_of.get(path, 1.0), paths)


def _matching(patterns, paths, field):
    """The set of paths that any of the patterns matches; each must match one."""
    if isinstance(patterns, str):
        raise ValueError(f"optimizer.{field} must be a tuple of patterns, got {patterns!r}.")
    known = jax.tree.leaves(paths)
    found = set()
    for pattern in patterns:
        try:
            matches = [path for path in known if re.fullmatch(pattern, path)]
        except re.error as error:
            raise ValueError(
                f"optimizer.{field} has {pattern!r}, not a regular expression: {error}."
            ) from error
        if not matches:
            near = [path for path in known if re.search(pattern, path)]
            near = near or difflib.get_close_matches(pattern, known, cutoff=0)
            raise ValueError(
                f"optimizer.{field} has {pattern!r}, which matches no parameter. It must match a"
                f" whole path, as {', '.join(near[:3])}."
            )
        found.update(matches)
    return found
