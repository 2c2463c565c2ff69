"""Linear support vector machines, one against the rest, on features that something else computed.

Cortes, Vapnik, "Support-vector networks", Machine Learning 1995; R-CNN's last stage (Girshick 2014,
section 2.3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcv.ops.program import one_program

# The hinge's corner is rounded off over these lengths, one after the other, for Newton's method to
# follow the minimum. The last leaves the objective at most C N times half of it too large.
_ROUNDINGS = (2.0, 0.2, 0.02, 2e-3, 2e-4, 2e-5)
_STEPS = 40  # of Newton's method for each, at most; 5 to 20 are usual
_HALVINGS = 30  # lengths of a step that are tried


class LinearSVM(NamedTuple):
    """Scores of features [N, D] are features @ weights.T + bias: [N, K]; the largest wins."""

    weights: jax.Array  # [K, D]
    bias: jax.Array  # [K]


@one_program("num_classes", "loss", "C", "intercept_scaling")
def linear_svm(
    features, label, *, num_classes, loss="squared_hinge", C=1.0, intercept_scaling=1.0, weight=None
):
    """Trains a LinearSVM: [N, D] and [N] classes -> for each class one against all others.

    Minimises `linear_svm_objective` for each class by itself, by Newton's method on the primal. It
    draws nothing, and converges from any start: the objective is convex, and no step raises it.

    Args:
        features: [N, D] float, best of about unit scale.
        label: [N] int.
        num_classes: K. Two classes make two machines, each the other's negative.
        loss: "squared_hinge" or "hinge", of the margin.
        C: weight of the losses against the length of the weights, above 0.
        intercept_scaling: the bias is the weight of a feature of this value, and as such it is
            regularised with the others: large values spare it.
        weight: [N] of the losses, 0 for padding; 1 everywhere if None.

    Returns:
        A LinearSVM in the features' dtype.

    Raises:
        ValueError: shapes, types or options out of range.

    Source: the objective of scikit-learn's LinearSVC (LIBLINEAR, Fan et al. 2008) with the same
        names of options; of binary sets that trains one machine.
    Cost: per class and step O(N D^2 + D^3) time, O(N D + D^2) memory.
    """
    _check(features, label, weight, loss, C)
    weight = jnp.ones(len(features), features.dtype) if weight is None else weight
    extended = _extended(features, intercept_scaling)

    def one(k):
        sign = jnp.where(label == k, 1, -1).astype(features.dtype)
        w = jnp.zeros(extended.shape[1], features.dtype)
        for rounding in _ROUNDINGS if loss == "hinge" else (None,):
            w = _newton(w, extended, sign, C * weight, rounding)
        return w

    w = jax.lax.map(one, jnp.arange(num_classes))
    return LinearSVM(w[:, :-1], w[:, -1] * intercept_scaling)


@one_program("loss", "C", "intercept_scaling")
def linear_svm_objective(
    svm, features, label, *, loss="squared_hinge", C=1.0, intercept_scaling=1.0, weight=None
):
    """What `linear_svm` minimises, for each class: [K].

    (|w_k|^2 + (b_k / intercept_scaling)^2) / 2 + C sum_n l(1 - y_nk (w_k x_n + b_k)), where y_nk is
    1 for examples of class k and -1 for others, and l(z) is max(z, 0) or its square.

    Args:
        svm: a LinearSVM.
        features, label, loss, C, intercept_scaling, weight: as of `linear_svm`.
    """
    _check(features, label, weight, loss, C)
    weight = jnp.ones(len(features), features.dtype) if weight is None else weight
    sign = jnp.where(label[:, None] == jnp.arange(len(svm.bias)), 1, -1)  # [N, K]
    slack = 1 - sign * (features @ svm.weights.T + svm.bias)
    length = (svm.weights**2).sum(1) + (svm.bias / intercept_scaling) ** 2
    return length / 2 + C * (weight[:, None] * _values(slack, loss == "squared_hinge")).sum(0)


def _values(slack, squared):
    hinge = jnp.maximum(slack, 0)
    return hinge**2 if squared else hinge


def _newton(w, features, sign, C, rounding):
    """The minimum of |w|^2 / 2 + sum_n C_n l(1 - sign_n w x_n), from w on: [D] -> [D].

    l is the squared hinge where `rounding` is None, else the hinge with its corner rounded off.
    """
    lengths = 0.5 ** jnp.arange(_HALVINGS, dtype=features.dtype)

    def values(slack):
        if rounding is None:
            return _values(slack, True)
        near = jnp.clip(slack, 0, rounding)
        return near**2 / (2 * rounding) + jnp.maximum(slack - rounding, 0)

    def objective(w, slack):
        return (w**2).sum(-1) / 2 + (C * values(slack)).sum(-1)

    def step(state):
        w, _, value, count = state
        slack = 1 - sign * (features @ w)
        if rounding is None:
            slope, curvature = 2 * jnp.maximum(slack, 0), 2.0 * (slack > 0)
        else:
            slope = jnp.clip(slack / rounding, 0, 1)
            curvature = ((slack > 0) & (slack < rounding)) / rounding
        gradient = w - (C * sign * slope) @ features
        hessian = jnp.eye(len(w)) + (features * (C * curvature)[:, None]).T @ features
        direction = -jax.scipy.linalg.solve(hessian, gradient, assume_a="pos")
        tried = w + lengths[:, None] * direction  # [_HALVINGS, D]
        found = objective(tried, slack - sign * (features @ direction) * lengths[:, None])
        best = jnp.argmin(found)
        better = found[best] < value
        return jnp.where(better, tried[best], w), value, jnp.minimum(found[best], value), count + 1

    def goes_on(state):
        _, before, value, count = state
        return (count < _STEPS) & (value < before * (1 - 4 * jnp.finfo(value.dtype).eps))

    value = objective(w, 1 - sign * (features @ w))
    return jax.lax.while_loop(goes_on, step, (w, jnp.inf * jnp.ones_like(value), value, 0))[0]


def _extended(features, intercept_scaling):
    """With one more feature, the same for all: its weight is the bias."""
    column = jnp.full((len(features), 1), intercept_scaling, features.dtype)
    return jnp.concatenate([features, column], 1)


def _check(features, label, weight, loss, C):
    if features.ndim != 2 or not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(
            f"features must be [N, D] float, got {list(features.shape)} {features.dtype}."
            " Flatten maps: features.reshape(len(features), -1)."
        )
    for name, array in (("label", label), ("weight", weight)):
        if array is not None and array.shape != (len(features),):
            raise ValueError(f"{name} must be [{len(features)}], got {list(array.shape)}.")
    if not jnp.issubdtype(label.dtype, jnp.integer):
        raise ValueError(f"label must be integers (classes), got {label.dtype}.")
    if loss not in ("hinge", "squared_hinge"):
        raise ValueError(f"loss must be 'hinge' or 'squared_hinge', got {loss!r}.")
    if not C > 0:
        raise ValueError(f"C must be above 0, got {C}.")
