"""Optax transformations with torch's conventions, where optax's own differ or count for themselves.

Each is built from a rule for one array, so that it reads as the formula of its paper. All share
one count of updates, which the caller passes: `update(updates, state, params, count=, rate=)` with
`count` the int32 number of updates done before and `rate` a tree of learning rates, one for each
array. A `momentum` or the first of `betas` may be a number or a schedule of the count.

What comes out is the direction to be multiplied by -rate (`apply_rate` does), except where a
docstring says that it is the change itself.
"""

import math

import jax
import jax.numpy as jnp
import optax


def apply_rate():
    """Direction -> change: times -rate."""

    def update(updates, state, params=None, *, rate, **_):
        return jax.tree.map(lambda u, r: -r * u, updates, rate), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def momentum_sum(momentum, *, dampening=0.0, nesterov=False):
    """Gradients -> their sum with weights that fade by `momentum` each step (torch's SGD).

    The first gradient enters whole, later ones times 1 - `dampening`.
    """

    def rule(g, memory, *, count, **_):
        mu = _at(momentum, count)
        part = jnp.where(count == 0, 1.0, 1.0 - dampening) if dampening else 1.0
        total = mu * memory["sum"] + part * g
        return (g + mu * total if nesterov else total), {"sum": total}

    return _transformation(_zeros("sum"), rule)


def adam(betas, *, eps, amsgrad=False):
    """Gradients -> Adam's direction; with `amsgrad` over the largest uncorrected square so far.

    Source: Kingma and Ba 2015; Reddi et al. 2018; torch's Adam.
    """

    names = ["mean", "square"] + ["largest"] * amsgrad

    def rule(g, memory, *, count, **_):
        beta1, beta2 = _at(betas[0], count), betas[1]
        new = _moments(g, memory, beta1, beta2)
        square = new["square"]
        if amsgrad:
            square = new["largest"] = jnp.maximum(memory["largest"], square)
        root = jnp.sqrt(square / _correction(beta2, count))
        return new["mean"] / _correction(beta1, count) / (root + eps), new

    return _transformation(_zeros(*names), rule)


def adamax(betas, *, eps):
    """Gradients -> the direction of Adam with the infinity norm (Kingma and Ba 2015, section 7)."""

    def rule(g, memory, *, count, **_):
        beta1, beta2 = _at(betas[0], count), betas[1]
        mean = beta1 * memory["mean"] + (1 - beta1) * g
        largest = jnp.maximum(beta2 * memory["largest"], jnp.abs(g) + eps)
        return mean / _correction(beta1, count) / largest, {"mean": mean, "largest": largest}

    return _transformation(_zeros("mean", "largest"), rule)


def nadam(betas, *, eps, momentum_decay):
    """Gradients -> the direction of Adam with Nesterov's momentum (Dozat 2016; torch's NAdam)."""

    def memory(x):
        return _zeros("mean", "square")(x) | {"product": jnp.ones((), x.dtype)}

    def rule(g, memory, *, count, **_):
        beta1, beta2 = _at(betas[0], count), betas[1]
        new = _moments(g, memory, beta1, beta2)
        mu, mu_next = (
            beta1 * (1 - 0.5 * jnp.exp(math.log(0.96) * momentum_decay * (count + ahead)))
            for ahead in (1, 2)
        )
        new["product"] = memory["product"] * mu
        now = (1 - mu) / (1 - new["product"]) * g
        later = mu_next / (1 - new["product"] * mu_next) * new["mean"]
        return (now + later) / (jnp.sqrt(new["square"] / _correction(beta2, count)) + eps), new

    return _transformation(memory, rule)


def radam(betas, *, eps):
    """Gradients -> the direction of rectified Adam (Liu et al. 2020; torch's RAdam).

    As torch, rectified where rho exceeds 5 (paper: 4), with `eps` before the correction of the
    square.
    """

    def rule(g, memory, *, count, **_):
        beta1, beta2 = _at(betas[0], count), betas[1]
        new = _moments(g, memory, beta1, beta2)
        mean = new["mean"] / _correction(beta1, count)
        limit = 2 / (1 - beta2) - 1
        rho = jnp.maximum(_average_length(beta2, count), 5.0)  # below: unused, kept from sqrt(< 0)
        rectifier = jnp.sqrt(((rho - 4) * (rho - 2) * limit) / ((limit - 4) * (limit - 2) * rho))
        root = (jnp.sqrt(new["square"]) + eps) / jnp.sqrt(_correction(beta2, count))
        return mean * jnp.where(rho > 5, rectifier / root, 1.0), new

    return _transformation(_zeros("mean", "square"), rule)


def rms(alpha, *, eps, centered=False):
    """Gradients -> gradients over the root of their mean square (RMSprop: Hinton 2012; torch's).

    With `centered` over their standard deviation (Graves 2013), where torch may give nan once
    rounding makes a variance negative; here it is then 0.
    """

    names = ["square"] + ["mean"] * centered

    def rule(g, memory, **_):
        new = {"square": alpha * memory["square"] + (1 - alpha) * g**2}
        variance = new["square"]
        if centered:
            new["mean"] = alpha * memory["mean"] + (1 - alpha) * g
            variance = jnp.maximum(variance - new["mean"] ** 2, 0.0)
        return g / (jnp.sqrt(variance) + eps), new

    return _transformation(_zeros(*names), rule)


def adagrad(*, eps, lr_decay, initial_accumulator_value):
    """Gradients -> gradients over the root of the sum of their squares (Duchi et al. 2011)."""

    def memory(x):
        return {"square": jnp.full_like(x, initial_accumulator_value)}

    def rule(g, memory, *, count, **_):
        square = memory["square"] + g**2
        return g / (jnp.sqrt(square) + eps) / (1 + lr_decay * count), {"square": square}

    return _transformation(memory, rule)


def rprop(*, etas, step_sizes):
    """Gradients -> the change itself: resilient backpropagation (Riedmiller and Braun 1993).

    The first step of each number is the rate; the rate of later updates has no effect (torch's).

    Args:
        etas: factors of a step after the gradient's sign changed, and after it did not.
        step_sizes: the least and the largest step.
    """

    def rule(g, memory, *, count, rate):
        same = jnp.sign(g * memory["gradient"])
        factor = jnp.where(same > 0, etas[1], jnp.where(same < 0, etas[0], 1.0))
        size = jnp.clip(jnp.where(count == 0, rate, memory["size"]) * factor, *step_sizes)
        g = jnp.where(same < 0, 0.0, g)
        return -jnp.sign(g) * size, {"gradient": g, "size": size}

    return _transformation(_zeros("gradient", "size"), rule)


def lion(betas):
    """Gradients -> the sign of a mean of them (Chen et al. 2023, algorithm 2)."""

    def rule(g, memory, *, count, **_):
        beta1, beta2 = _at(betas[0], count), betas[1]
        direction = jnp.sign(beta1 * memory["mean"] + (1 - beta1) * g)
        return direction, {"mean": beta2 * memory["mean"] + (1 - beta2) * g}

    return _transformation(_zeros("mean"), rule)


def lars_trust(trust, *, weight_decay, decayed):
    """Gradients -> gradients with decay, scaled by layer (You, Gitman, Ginsburg 2017).

    Args:
        trust: a gradient gets the length trust * |x|, or less with decay, but stays as it is where
            |x| or |g| is 0.
        weight_decay: of the parameters x.
        decayed: tree of bool: which are decayed.
    """

    def rule(g, x, decays):
        decay = weight_decay if decays else 0.0
        length, slope = jnp.linalg.norm(x.ravel()), jnp.linalg.norm(g.ravel())
        still = (length == 0) | (slope == 0)
        ratio = trust * length / jnp.where(still, 1.0, slope + decay * length)
        return jnp.where(still, 1.0, ratio) * (g + decay * x)

    return optax.stateless(lambda updates, params: jax.tree.map(rule, updates, params, decayed))


def _transformation(memory, rule):
    """An optax transformation from what it does to one array.

    Args:
        memory: parameter -> {name: array}, what is remembered of it at the start.
        rule: (gradient, memory, *, count, rate) -> (direction, new memory).
    """

    def init(params):
        return jax.tree.map(memory, params)

    def update(updates, state, params=None, *, count, rate, **_):
        gradients, tree = jax.tree.flatten(updates)
        results = [
            rule(g, memory, count=count, rate=r)
            for g, memory, r in zip(gradients, tree.flatten_up_to(state), tree.flatten_up_to(rate))
        ]
        return tree.unflatten([r[0] for r in results]), tree.unflatten([r[1] for r in results])

    return optax.GradientTransformationExtraArgs(init, update)


def _zeros(*names):
    """parameter -> {name: zeros of its shape}; separate arrays, so that each can be donated."""
    return lambda x: {name: jnp.zeros_like(x) for name in names}


def _at(value, count):
    """The number `value`, or the schedule `value` at `count`."""
    return value(count) if callable(value) else value


def _moments(g, memory, beta1, beta2):
    return {
        "mean": beta1 * memory["mean"] + (1 - beta1) * g,
        "square": beta2 * memory["square"] + (1 - beta2) * g**2,
    }


def _correction(beta, count):
    """1 - beta ** (count + 1), without the cancellation that costs four digits at beta = 0.999."""
    return -jnp.expm1((count + 1) * jnp.log1p(beta - 1.0))


def _average_length(beta, count):
    """RAdam's rho: 2 / (1 - beta) - 1 - 2 t beta**t / (1 - beta**t) with t = count + 1.

    Its large terms cancel at small t. With L = -log(beta) and u = t L it is
    (2 / (1 - beta) - 1 - 2 / L) + (2 / L) (1 - u / (exp(u) - 1)), whose last bracket has a series.
    """
    scale = -math.log(max(beta, 1e-30))
    u = (count + 1) * scale
    series = u / 2 - u**2 / 12 + u**4 / 720 - u**6 / 30240 + u**8 / 1209600
    bracket = jnp.where(u < 1, series, 1 - u / jnp.expm1(u))
    return (2 / (1 - beta) - 1 - 2 / scale) + 2 / scale * bracket
