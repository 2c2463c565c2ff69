import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxcv import metrics

CLASSES = 7
sums_of = jax.jit(metrics.classification_sums)


@pytest.fixture(scope="module")
def batch():
    """103 examples of 7 classes, of which class 5 does not occur and class 6 is never predicted."""
    random = np.random.default_rng(0)
    label = random.choice([0, 1, 2, 3, 4, 6], 103).astype(np.int32)
    logits = random.normal(size=(103, CLASSES)).astype(np.float32)
    logits[np.arange(103), label] += 1
    logits[:, 6] = -10
    return logits, label


def test_scores_equal_scikit_learn(batch):
    logits, label = batch
    predicted = logits.argmax(1)
    sums = sums_of(logits, label)
    scores = metrics.classification_scores(sums)

    confusion = sklearn.metrics.confusion_matrix(label, predicted, labels=range(CLASSES))
    np.testing.assert_array_equal(sums["confusion"], confusion)
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        label, predicted, average="macro", zero_division=0
    )
    top1 = sklearn.metrics.accuracy_score(label, predicted)
    top5 = sklearn.metrics.top_k_accuracy_score(label, logits, k=5, labels=range(CLASSES))
    want = {
        "top1": top1, "top5": top5, "precision": precision, "recall": recall, "f1": f1,
        "count": 103,
    }  # fmt: skip
    assert set(scores) == set(want)
    for name in want:
        assert scores[name] == pytest.approx(want[name], rel=1e-12), name


@pytest.mark.parametrize("size", [1, 8, 50])
def test_sums_do_not_depend_on_the_batch_size(batch, size):
    whole = sums_of(*batch)
    padded = _batches(*batch, size)
    parts = jax.vmap(lambda *part: metrics.classification_sums(*part[:2], weight=part[2]))(*padded)
    for name, total in whole.items():
        np.testing.assert_array_equal(np.sum(np.asarray(parts[name]), 0), total, err_msg=name)


def test_sums_do_not_depend_on_the_number_of_devices(batch):
    def step(logits, label, weight):
        sums = metrics.classification_sums(logits, label, weight=weight)
        return jax.lax.psum(sums, "device")

    padded = _batches(*batch, -(-103 // jax.local_device_count()))
    sharded = jax.pmap(step, "device", out_axes=None)(*padded)
    for name, total in sums_of(*batch).items():
        np.testing.assert_array_equal(sharded[name], total, err_msg=name)


def test_sums_by_hand():
    # Ranked second, first, second: class 1 of 2 is taken for 0 once, 0 for 1 once.
    logits = jnp.array([[0.2, 0.1], [3.0, -1.0], [1.0, 2.0]])
    sums = metrics.classification_sums(logits, jnp.array([1, 0, 0]))
    np.testing.assert_array_equal(sums["confusion"], [[1, 1], [1, 0]])
    np.testing.assert_array_equal(sums["support"], [2, 1])
    scores = metrics.classification_scores(sums)
    # Class 0 has precision 1/2 and recall 1/2, class 1 has neither.
    assert (scores["top1"], scores["top5"]) == (pytest.approx(1 / 3), 1)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.25, 0.25, 0.25)


def test_equal_scores_are_ranked_by_index():
    # A network that says nothing has the accuracy of always answering class 0, not 100 %.
    scores = metrics.classification_scores(
        metrics.classification_sums(jnp.zeros((10, 10)), jnp.arange(10))
    )
    assert (scores["top1"], scores["top5"]) == (0.1, 0.5)


def test_a_row_with_nan_is_wrong_whatever_its_label():
    logits = jnp.full((2, 3), 1.0).at[:, 1].set(jnp.nan)
    sums = metrics.classification_sums(logits, jnp.array([0, 1]))
    assert sums["confusion"].sum() == sums["top5"] == 0
    scores = metrics.classification_scores(sums)
    assert (scores["count"], scores["top1"], scores["recall"]) == (2, 0, 0)


@pytest.mark.parametrize("label", [-1, 3, 255])
def test_an_example_without_a_class_is_left_out(label):
    logits = jnp.array([[1.0, 2, 3], [1, 2, 3]])
    got = sums_of(logits, jnp.array([2, label]))
    want = sums_of(logits, jnp.array([2, 0]), weight=jnp.array([1.0, 0]))
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_scores_of_no_examples_are_nan():
    scores = metrics.classification_scores(
        {"support": np.zeros(3), "confusion": np.zeros((3, 3)), "top5": np.zeros(())}
    )
    assert scores.pop("count") == 0
    assert np.isnan(list(scores.values())).all()


def test_precision_and_recall_at_thresholds_by_hand():
    # One of the three highest scores is positive, and -0.1.
    score = jnp.array([0.9, 0.5, 0.1, -0.1, -0.4, -0.6])
    positive = jnp.array([True, False, False, True, False, False])
    sums = metrics.threshold_sums(score, positive, jnp.array([0, -0.2, -0.5]))
    np.testing.assert_array_equal(sums["true_positive"], [1, 2, 2])
    np.testing.assert_array_equal(sums["true_negative"], [2, 2, 1])
    np.testing.assert_array_equal(sums["false_negative"], [1, 0, 0])
    np.testing.assert_array_equal(sums["false_positive"], [2, 2, 3])
    precision, recall = metrics.precision_recall(sums)
    np.testing.assert_allclose(precision, [1 / 3, 1 / 2, 2 / 5])
    np.testing.assert_allclose(recall, [1 / 2, 1, 1])


def test_precision_without_a_yes_is_zero():
    score, positive = jnp.array([0.0, jnp.nan]), jnp.array([True, False])
    sums = metrics.threshold_sums(score, positive, 0.0, weight=jnp.array([1.0, 1]))
    assert metrics.precision_recall(sums) == (0, 0)


def test_threshold_sums_skip_padding():
    score, positive = jnp.array([1.0, 1, 1]), jnp.array([True, True, False])
    sums = metrics.threshold_sums(score, positive, 0.0, weight=jnp.array([1.0, 0, 0]))
    assert {name: float(total) for name, total in sums.items()} == {
        "true_positive": 1, "false_positive": 0, "false_negative": 0, "true_negative": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((jnp.zeros(3), jnp.zeros(3, int)), r"logits must be \[B, K\], got \[3\]"),
        ((jnp.zeros((3, 2)), jnp.zeros(4, int)), r"label must be \[3\].*got \[4\]"),
        ((jnp.zeros((3, 2)), jnp.zeros(3)), "label must be integers.*float32"),
    ],
)
def test_classification_sums_names_the_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        metrics.classification_sums(*arguments)


def test_threshold_sums_wants_bool():
    with pytest.raises(ValueError, match="positive must be bool, got int32"):
        metrics.threshold_sums(jnp.zeros(2), jnp.ones(2, int), 0.5)


def _batches(logits, label, size):
    """Batches of `size`, stacked: [n, size, ...]; the last is padded with weight 0."""
    missing = -len(label) % size

    def cut(array, fill):
        padding = np.full((missing, *array.shape[1:]), fill, array.dtype)
        return np.concatenate([array, padding]).reshape(-1, size, *array.shape[1:])

    weight = np.ones(len(label), np.float32)
    return cut(logits, np.nan), cut(label, 0), cut(weight, 0)
