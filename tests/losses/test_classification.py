import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import losses
from tests import golden
from tests.losses.reduction import reduced
from tests.meets import assert_meets

FILE = "ops/layers.npz"
TORCH = "torch.nn.functional."


@pytest.mark.parametrize("case", golden.cases(FILE, TORCH + "cross_entropy"), ids=lambda c: c.name)
def test_cross_entropy_equals_torch(case):
    options = dict(case.arguments)
    reduction = options.pop("reduction", "mean")
    options["class_weight"] = case.inputs.get("weight")

    def function(inputs):
        logits, target = jnp.moveaxis(inputs["input"], 1, -1), inputs["target"]
        values = losses.cross_entropy(logits, target, **options)
        if target.ndim == logits.ndim:
            return (reduced(values, reduction),)
        weighing = {key: options.get(key) for key in ("class_weight", "ignore_index")}
        weight = losses.label_weight(target, **weighing)
        return (reduced(values, reduction, weight),)

    assert_meets(case, function)


@pytest.mark.parametrize("case", golden.cases(FILE, TORCH + "nll_loss"), ids=lambda c: c.name)
def test_negative_log_likelihood_equals_torch(case):
    def function(inputs):
        options = {"class_weight": inputs["weight"]}
        values = losses.negative_log_likelihood(inputs["input"], inputs["target"], **options)
        return (reduced(values, "mean", losses.label_weight(inputs["target"], **options)),)

    assert_meets(case, function)


@pytest.mark.parametrize(
    "case", golden.cases(FILE, TORCH + "binary_cross_entropy_with_logits"), ids=lambda c: c.name
)
def test_binary_cross_entropy_equals_torch(case):
    def function(inputs):
        values = losses.binary_cross_entropy(
            inputs["input"], inputs["target"], positive_weight=inputs.get("pos_weight", 1.0)
        )
        values *= inputs.get("weight", 1)
        return (reduced(values, case.arguments.get("reduction", "mean")),)

    assert_meets(case, function)


@pytest.mark.parametrize(
    "case", golden.cases(FILE, TORCH + "binary_cross_entropy"), ids=lambda c: c.name
)
def test_binary_cross_entropy_of_probabilities_goes_by_their_logits(case):
    def function(inputs):
        logits = jax.scipy.special.logit(inputs["input"])
        return (losses.binary_cross_entropy(logits, inputs["target"]).mean(),)

    assert_meets(case, function)


@pytest.mark.parametrize(
    "case", golden.cases(FILE, "torchvision.ops.sigmoid_focal_loss"), ids=lambda c: c.name
)
def test_sigmoid_focal_equals_torchvision(case):
    alpha = case.arguments["alpha"]

    def function(inputs):
        values = losses.sigmoid_focal(
            inputs["inputs"],
            inputs["targets"],
            alpha=None if alpha < 0 else alpha,
            gamma=case.arguments["gamma"],
        )
        return (reduced(values, case.arguments["reduction"]),)

    assert_meets(case, function)


@pytest.mark.parametrize("case", golden.cases(FILE, TORCH + "kl_div"), ids=lambda c: c.name)
def test_kl_divergence_equals_torch(case):
    log_target = case.arguments.get("log_target", False)

    def function(inputs):
        values = losses.kl_divergence(inputs["input"], inputs["target"], log_target=log_target)
        return (reduced(values, case.arguments["reduction"]),)

    assert_meets(case, function)


@pytest.mark.parametrize("case", golden.cases(FILE, "hinge_loss"), ids=lambda c: c.name)
def test_hinge_equals_its_formula(case):
    hinge = losses.squared_hinge if case.arguments["squared"] else losses.hinge
    assert_meets(case, lambda inputs: (hinge(inputs["input"], inputs["target"]).mean(),))


@pytest.mark.parametrize(
    "case", golden.cases(FILE, TORCH + "multi_margin_loss"), ids=lambda c: c.name
)
def test_multi_margin_equals_torch(case):
    options = {"power": case.arguments["p"], "margin": case.arguments["margin"]}

    def function(inputs):
        return (losses.multi_margin(inputs["input"], inputs["target"], **options).mean(),)

    assert_meets(case, function)


def test_cross_entropy_by_hand():
    logits, label = jnp.array([2.0, 1, 0]), jnp.array(0)
    np.testing.assert_allclose(jax.nn.softmax(logits), [0.665241, 0.244728, 0.090031], atol=1e-6)
    np.testing.assert_allclose(losses.cross_entropy(logits, label), 0.407606, atol=1e-6)
    # The other classes' losses are larger by 1 and 2: smoothing adds 0.1 (0 + 1 + 2) / 3.
    smooth = losses.cross_entropy(logits, label, label_smoothing=0.1)
    np.testing.assert_allclose(smooth, 0.507606, atol=1e-6)
    np.testing.assert_allclose(losses.cross_entropy(jnp.zeros(3), label), np.log(3), rtol=1e-6)


def test_focal_loss_by_hand():
    # At logit 0, p_t = 1/2: alpha (1/2)^2 log 2, alpha being 1/4 of the positive, else 3/4.
    got = losses.sigmoid_focal(jnp.zeros(2), jnp.array([1.0, 0]))
    np.testing.assert_allclose(got, np.log(2) * np.array([1 / 16, 3 / 16]), rtol=1e-6)


def test_labels_out_of_range_are_nan_and_ignored_ones_are_not():
    labels = jnp.array([-1, 3, 255, 2])
    logits = jnp.zeros((4, 3)).at[2].set(jnp.inf)  # inf at an ignored place harms nothing
    options = {"ignore_index": 255, "class_weight": [1.0, 1, 2]}

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient_and_values(logits):
        values = losses.cross_entropy(logits, labels, **options)
        return values[2:].sum(), values

    gradient, values = gradient_and_values(logits)
    np.testing.assert_array_equal(np.isnan(values), [True, True, False, False])
    np.testing.assert_allclose(values[2:], [0, 2 * np.log(3)], rtol=1e-6)
    np.testing.assert_array_equal(gradient[2], [0, 0, 0])
    np.testing.assert_array_equal(losses.label_weight(labels[2:], **options), [0, 2])
    np.testing.assert_array_equal(losses.label_weight(labels[2:], ignore_index=255), [0, 1])
    assert np.isnan(losses.multi_margin(logits[:2], labels[:2])).all()


def test_losses_and_gradients_are_finite_at_certain_predictions():
    logits = jnp.array([[-200.0, 0, 200]])
    zero_one = jnp.array([[1.0, 1, 0]])

    def total(logits):
        return [
            losses.cross_entropy(logits, jnp.array([0])).sum(),
            losses.binary_cross_entropy(logits, zero_one).sum(),
            losses.sigmoid_focal(logits, zero_one, gamma=0.5).sum(),
            losses.sigmoid_focal(logits, 1 - zero_one, gamma=0.5).sum(),
            losses.kl_divergence(jax.nn.log_softmax(logits), zero_one / 2).sum(),
        ]

    assert np.isfinite(jax.jit(total)(logits)).all()
    assert np.isfinite(jax.jit(jax.jacobian(total))(logits)).all()


def test_kl_divergence_is_zero_where_nothing_is_expected():
    got = losses.kl_divergence(jnp.array([0, -jnp.inf]), jnp.array([1.0, 0]))
    np.testing.assert_array_equal(got, [0, 0])


def test_losses_of_bfloat16_are_float32():
    logits = jnp.array([[2.0, 1, 0]], jnp.bfloat16)
    loss = losses.cross_entropy(logits, jnp.array([0]))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, [0.407606], atol=1e-6)


LOGITS, LABEL = jnp.zeros((2, 3)), jnp.zeros(2, int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.cross_entropy(LOGITS, LABEL[:1]), r"integers of shape \[2\].*int32 \[1\]"),
        (lambda: losses.cross_entropy(LOGITS, LOGITS[:1]), r"logits \[2, 3\], target \[1, 3\]"),
        (lambda: losses.cross_entropy(LOGITS, LOGITS, ignore_index=0), "needs integer labels"),
        (lambda: losses.cross_entropy(LOGITS, LABEL, label_smoothing=2), "label_smoothing must be"),
        (lambda: losses.cross_entropy(LOGITS, LABEL, class_weight=[1, 2]), r"must be \[3\].*\[2\]"),
        (lambda: losses.negative_log_likelihood(LOGITS, LOGITS[:, 0]), "must be integers"),
        (lambda: losses.binary_cross_entropy(LOGITS, LOGITS[:, :1]), "expected one shape"),
        (
            lambda: losses.binary_cross_entropy(LOGITS, LOGITS, positive_weight=[1.0, 2]),
            r"positive_weight must be a number or \[3\], got \[2\]",
        ),
        (lambda: losses.sigmoid_focal(LOGITS, LOGITS, alpha=-1), "alpha in .* got -1, 2.0"),
        (lambda: losses.kl_divergence(LOGITS, LOGITS[0]), "expected one shape"),
        (lambda: losses.hinge(LOGITS, LOGITS[0]), "expected one shape"),
        (lambda: losses.multi_margin(LOGITS, LABEL, power=3), "power must be 1 or 2, got 3"),
    ],
)
def test_losses_name_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
