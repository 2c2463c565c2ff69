"""Losses of numbers, element by element: [...] and [...] -> [...], which must be one shape."""

import jax.numpy as jnp

from jaxcv.losses import inputs
from jaxcv.ops.program import one_program


@one_program()
def l1(prediction, target):
    """Absolute difference."""
    return jnp.abs(_difference(prediction, target))


@one_program()
def l2(prediction, target):
    """Squared difference, without a factor 1/2."""
    return jnp.square(_difference(prediction, target))


@one_program("beta")
def smooth_l1(prediction, target, *, beta=1.0):
    """d^2 / (2 beta) for differences below beta, else |d| - beta / 2; `huber` over beta.

    Raises:
        ValueError: shapes differ, or beta is not positive (for beta 0 use `l1`).

    Source: Girshick, "Fast R-CNN", 2015, equation 3 (beta 1); torch.nn.functional.smooth_l1_loss.
    """
    _check_positive(beta=beta)
    return huber(prediction, target, delta=beta) / beta


@one_program("delta")
def huber(prediction, target, *, delta=1.0):
    """d^2 / 2 for differences below delta, else delta (|d| - delta / 2).

    Raises:
        ValueError: shapes differ, or delta is not positive.

    Source: torch.nn.functional.huber_loss.
    """
    _check_positive(delta=delta)
    distance = jnp.abs(_difference(prediction, target))
    inner = jnp.minimum(distance, delta)
    return inner * (distance - inner / 2)


def _difference(prediction, target):
    prediction, target = inputs.wide(prediction), inputs.wide(target)
    inputs.check_same_shape(prediction=prediction, target=target)
    return prediction - target


def _check_positive(**option):
    for name, value in option.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}. For 0 use l1.")
