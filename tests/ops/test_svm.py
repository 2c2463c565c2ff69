import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from jaxcv.data import digits

# How far above the objective of scikit-learn's ours may end, relative to it, and below.
BOUNDS = {"squared_hinge": (1e-6, 1e-6), "hinge": (3e-5, 1e-5)}


def pixels(split):
    image, label = digits.arrays(split)
    return jnp.asarray(image.reshape(len(image), -1) / 255, jnp.float32), jnp.asarray(label)


def objective(weights, bias, features, label, loss):
    """In float64, for each class: LinearSVC's at C = 1."""
    sign = np.where(np.asarray(label)[:, None] == np.arange(10), 1, -1)
    slack = np.maximum(1 - sign * (np.float64(features) @ weights.T + bias), 0)
    slack = slack**2 if loss == "squared_hinge" else slack
    return ((weights**2).sum(1) + bias**2) / 2 + slack.sum(0)


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_digits_as_scikit_learn_tells_them_apart(loss):
    from sklearn.svm import LinearSVC

    features, label = pixels("train")
    peer = LinearSVC(loss=loss, tol=1e-6, max_iter=100_000, dual=True, random_state=0)
    with warnings.catch_warnings(action="error"):  # it converged
        peer.fit(np.float64(features), label)
    svm = jax.jit(lambda x, y: ops.linear_svm(x, y, num_classes=10, loss=loss))(features, label)

    ours = objective(np.float64(svm.weights), np.float64(svm.bias), features, label, loss)
    theirs = objective(peer.coef_, peer.intercept_, features, label, loss)
    above, below = BOUNDS[loss]
    assert (ours <= theirs * (1 + above)).all()
    assert (ours >= theirs * (1 - below)).all()
    stated = ops.linear_svm_objective(svm, features, label, loss=loss)
    np.testing.assert_allclose(stated, ours, rtol=1e-6)

    unseen, _ = pixels("test")
    predicted = (unseen @ svm.weights.T + svm.bias).argmax(1)
    np.testing.assert_array_equal(predicted, peer.predict(np.float64(unseen)))


@pytest.mark.parametrize(
    ("loss", "C", "weight"),
    [
        ("squared_hinge", 1.0, 0.8),  # w^2 / 2 + 2 C (1 - w)^2: w = 4 C / (1 + 4 C)
        ("squared_hinge", 0.25, 0.5),
        ("hinge", 0.25, 0.5),  # w^2 / 2 + 2 C max(1 - w, 0): w = 2 C, at most 1
        ("hinge", 4.0, 1.0),
    ],
)
def test_two_points_by_hand(loss, C, weight):
    features, label = jnp.array([[-1.0], [1.0]]), jnp.array([0, 1])
    svm = ops.linear_svm(features, label, num_classes=2, loss=loss, C=C)
    np.testing.assert_allclose(svm.weights, [[-weight], [weight]], atol=2e-5)
    np.testing.assert_allclose(svm.bias, [0, 0], atol=1e-6)


def test_the_bias_is_spared_by_a_large_scaling():
    # Both points at 0: without regularisation the bias is at the margin of the heavier class.
    features, label = jnp.zeros((3, 1)), jnp.array([0, 0, 1])
    bias = [
        float(ops.linear_svm(features, label, num_classes=2, intercept_scaling=s).bias[0])
        for s in (1.0, 100.0)
    ]
    # b^2 / (2 s^2) + 2 (1 - b)^2 + (1 + b)^2: b = 2 / (6 + 1 / s^2).
    np.testing.assert_allclose(bias, [2 / 7, 2 / 6.0001], rtol=1e-5)


def test_padding_of_weight_0_changes_nothing():
    features, label = (array[::20] for array in pixels("train"))
    padded = jnp.concatenate([features, features[:9]]), jnp.concatenate([label, 9 - label[:9]])
    weight = jnp.concatenate([jnp.ones(len(label)), jnp.zeros(9)])
    plain = ops.linear_svm(features, label, num_classes=10)
    got = ops.linear_svm(*padded, num_classes=10, weight=weight)
    np.testing.assert_allclose(got.weights, plain.weights, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((jnp.zeros((2, 3, 4)), jnp.zeros(2, int)), {}, r"features must be \[N, D\] float, got"),
        ((jnp.zeros((2, 3)), jnp.zeros(3, int)), {}, r"label must be \[2\], got \[3\]"),
        ((jnp.zeros((2, 3)), jnp.zeros(2)), {}, "label must be integers"),
        ((jnp.zeros((2, 3)), jnp.zeros(2, int)), {"loss": "l1"}, "got 'l1'"),
        ((jnp.zeros((2, 3)), jnp.zeros(2, int)), {"C": 0.0}, "C must be above 0, got 0.0"),
    ],
)
def test_bad_arguments_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ops.linear_svm(*arguments, num_classes=2, **options)
