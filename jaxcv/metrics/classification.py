"""Classification: top-k accuracy, confusion, precision, recall.

The functions named `..._sums` run on the device. Their results add up over batches, devices and
hosts; they are counts, exact in float32 up to 2^24, so totals are kept in float64. The others take
totals to numbers, on the host and in float64.
"""

import jax.numpy as jnp
import numpy as np

from jaxcv.ops.program import one_program


@one_program()
def classification_sums(logits, label, *, weight=None):
    """Counts of right and wrong classes: [B, K] scores and [B] classes -> sums that add up.

    Classes are ranked by score, equal scores by index, the lower first, as `argmax` does. A row
    with a NaN has no ranking: it predicts no class and is wrong. An example whose label is not in
    0..K-1 is left out, as with weight 0.

    Args:
        logits: [B, K] float; any increasing function of them gives the same sums.
        label: [B] int.
        weight: [B], 0 for padding examples, 1 for all others; 1 everywhere if None.

    Returns:
        A dict of float32: `support` [K], the examples of each class; `confusion` [K, K], those of
        true class i (row) with predicted class j (column); `top5` [], those whose class is among
        the first five of the ranking (with K <= 5 all but the rows with a NaN).

    Raises:
        ValueError: the shapes do not fit, or the labels are not integers.

    Cost: O(B K + K^2) time and memory.
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must be [B, K], got {list(logits.shape)}.")
    _check_batch(len(logits), label=label, weight=weight)
    if not jnp.issubdtype(label.dtype, jnp.integer):
        raise ValueError(f"label must be integers (classes), got {label.dtype}.")
    classes = logits.shape[1]
    weight = jnp.ones(len(logits)) if weight is None else weight
    weight = jnp.where((label >= 0) & (label < classes), weight, 0)
    ranked = jnp.where(jnp.isnan(logits).any(1), 0, weight)
    label = jnp.clip(label, 0, classes - 1)  # those changed here have weight 0

    own = jnp.take_along_axis(logits, label[:, None], axis=1)  # [B, 1]
    ahead = (logits > own) | ((logits == own) & (jnp.arange(classes) < label[:, None]))
    return {
        "support": jnp.zeros(classes).at[label].add(weight),
        "confusion": jnp.zeros((classes, classes)).at[label, logits.argmax(1)].add(ranked),
        "top5": jnp.where(ahead.sum(1) < 5, ranked, 0).sum(),
    }


def classification_scores(sums):
    """Accuracies and macro averages from the totals of `classification_sums`: {name: float}.

    `count` is the number of examples, `top1` and `top5` fractions of it. `precision`, `recall` and
    `f1` are means over the classes that occur as a label or a prediction, where a class that is
    never predicted has precision 0 and one without examples has recall 0. Without examples all are
    NaN but `count`.

    Source: equal to scikit-learn's precision_recall_fscore_support(average="macro",
    zero_division=0) where no row has a NaN.
    """
    sums = {name: np.asarray(total, np.float64) for name, total in sums.items()}
    right = sums["confusion"].diagonal()
    predicted = sums["confusion"].sum(0)
    support = sums["support"]
    count = support.sum()
    occurs = support + predicted > 0

    def macro(total):
        return _ratio(_ratio(right, total)[occurs].sum(), occurs.sum(), np.nan)

    scores = {
        "top1": _ratio(right.sum(), count, np.nan),
        "top5": _ratio(sums["top5"], count, np.nan),
        "precision": macro(predicted),
        "recall": macro(support),
        "f1": macro((predicted + support) / 2),
        "count": count,
    }
    return {name: float(score) for name, score in scores.items()}


@one_program()
def threshold_sums(score, positive, threshold, *, weight=None):
    """Counts of a yes-no decision, "yes" where score > threshold: sums that add up.

    Args:
        score: [N] float. A NaN is no "yes" at any threshold.
        positive: [N] bool, the truth.
        threshold: a number, or [T] for T decisions at once.
        weight: [N], 0 for padding; 1 everywhere if None.

    Returns:
        float32 `true_positive`, `false_positive`, `false_negative`, `true_negative`, each [] or,
        with [T] thresholds, [T].

    Raises:
        ValueError: positive or weight is not [N], or positive is not bool.

    Cost: O(N T).
    """
    _check_batch(len(score), positive=positive, weight=weight)
    if positive.dtype != bool:  # ~ of an integer is no negation
        raise ValueError(f"positive must be bool, got {positive.dtype}. Compare it: positive > 0.")
    weight = jnp.ones(len(score)) if weight is None else weight
    yes = score > jnp.asarray(threshold)[..., None]  # [N] or [T, N]

    def total(chosen):
        return jnp.where(chosen, weight, 0).sum(-1)

    return {
        "true_positive": total(yes & positive),
        "false_positive": total(yes & ~positive),
        "false_negative": total(~yes & positive),
        "true_negative": total(~yes & ~positive),
    }


def precision_recall(sums):
    """(precision, recall) from the totals of `threshold_sums`, float64 [] or [T]; 0/0 is 0."""
    sums = {name: np.asarray(total, np.float64) for name, total in sums.items()}
    right = sums["true_positive"]
    return (
        _ratio(right, right + sums["false_positive"]),
        _ratio(right, right + sums["false_negative"]),
    )


def _ratio(part, whole, empty=0.0):
    """part / whole, and `empty` where whole is 0."""
    return np.where(whole == 0, empty, part / np.where(whole == 0, 1, whole))


def _check_batch(count, **arrays):
    for name, array in arrays.items():
        if array is not None and array.shape != (count,):
            raise ValueError(
                f"{name} must be [{count}], one number for each example, got {list(array.shape)}."
            )
