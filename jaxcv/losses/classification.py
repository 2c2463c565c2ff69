"""Losses of classes: softmax, sigmoid and margin. Classes are the last axis."""

import jax
import jax.numpy as jnp

from jaxcv.losses import inputs
from jaxcv.ops.program import one_program


@one_program("label_smoothing", "ignore_index")
def cross_entropy(logits, target, *, label_smoothing=0.0, class_weight=None, ignore_index=None):
    """Cross-entropy of the softmax: [..., K] -> [...].

    -sum_k w_k q_k log softmax(logits)_k, where q is the target mixed with `label_smoothing` of the
    uniform distribution; but of integer labels with weights, the label's share has its weight
    w_label and the uniform share each class's (torch's rule).

    Args:
        logits: [..., K] float.
        target: [...] integer labels, or [..., K] probabilities.
        label_smoothing: the uniform share, in [0, 1].
        class_weight: [K], ones if None.
        ignore_index: labels of this value have loss 0 and gradient 0.

    Returns:
        [...]. The mean that torch takes is this summed, over `label_weight(...)` summed for labels
        and over the number of examples for probabilities. nan for a label outside 0..K-1 that is
        not ignored.

    Raises:
        ValueError: shapes, dtypes or options that do not fit each other.

    Source: torch.nn.functional.cross_entropy.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing}.")
    logits, target = inputs.wide(logits), jnp.asarray(target)
    num_classes = logits.shape[-1]
    weights = _class_weights(class_weight, num_classes)
    if jnp.issubdtype(target.dtype, jnp.floating):
        if ignore_index is not None:
            raise ValueError("ignore_index needs integer labels, got a target of probabilities.")
        inputs.check_same_shape(logits=logits, target=target)
        mixed = (1 - label_smoothing) * target + label_smoothing / num_classes
        return -(weights * mixed * jax.nn.log_softmax(logits)).sum(-1)

    inputs.check_labels(logits, target, name="logits")
    ignored = _ignored(target, ignore_index)
    # Whatever stands at ignored places, infinities included, is replaced before it is looked at.
    log_probabilities = jax.nn.log_softmax(jnp.where(ignored[..., None], 0, logits))
    loss = negative_log_likelihood(
        log_probabilities, target, class_weight=class_weight, ignore_index=ignore_index
    )
    if label_smoothing:
        uniform = -(weights * log_probabilities).mean(-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * jnp.where(ignored, 0, uniform)
    return loss


@one_program("ignore_index")
def negative_log_likelihood(log_probabilities, label, *, class_weight=None, ignore_index=None):
    """-w_label log p_label: [..., K] log-probabilities and [...] integers -> [...].

    `class_weight`, `ignore_index`, the mean and the answer to a label out of range are as of
    `cross_entropy`.

    Source: torch.nn.functional.nll_loss.
    """
    log_probabilities, label = inputs.wide(log_probabilities), jnp.asarray(label)
    inputs.check_labels(log_probabilities, label, name="log_probabilities")
    ignored = _ignored(label, ignore_index)
    _class_weights(class_weight, log_probabilities.shape[-1])
    weight = label_weight(label, class_weight=class_weight, ignore_index=ignore_index)
    log_probability = _at_label(log_probabilities, jnp.where(ignored, 0, label))
    return jnp.where(ignored, 0, -weight * log_probability)


@one_program("ignore_index")
def label_weight(label, *, class_weight=None, ignore_index=None):
    """The weight of each label in torch's mean: [...] integers -> [...] float32.

    0 where ignored, else the label's class weight, or 1 without class weights.
    """
    label = jnp.asarray(label)
    ignored = _ignored(label, ignore_index)
    if class_weight is None:
        return jnp.where(ignored, 0.0, 1.0)
    weights = _class_weights(class_weight, len(class_weight))
    weights = jnp.broadcast_to(weights, (*label.shape, len(weights)))
    return jnp.where(ignored, 0, _at_label(weights, label))


@one_program()
def binary_cross_entropy(logits, target, *, positive_weight=1.0):
    """Cross-entropy of the sigmoid, element by element: [...] -> [...].

    Args:
        logits: [...] float.
        target: [...], probabilities of the positive.
        positive_weight: a number or [K] for the last axis: weight of the positive part.

    Raises:
        ValueError: shapes differ.

    Source: torch.nn.functional.binary_cross_entropy_with_logits (its pos_weight).
    """
    logits, target = inputs.wide(logits), inputs.wide(target)
    inputs.check_same_shape(logits=logits, target=target)
    positive_weight = inputs.wide(positive_weight)
    if positive_weight.ndim and positive_weight.shape != logits.shape[-1:]:
        raise ValueError(
            f"positive_weight must be a number or {list(logits.shape[-1:])}, got"
            f" {list(positive_weight.shape)}."
        )
    positive = target * jax.nn.softplus(-logits)
    negative = (1 - target) * jax.nn.softplus(logits)
    return positive_weight * positive + negative


@one_program("alpha", "gamma")
def sigmoid_focal(logits, target, *, alpha=0.25, gamma=2.0):
    """Focal loss, element by element: -alpha_t (1 - p_t)^gamma log p_t: [...] -> [...].

    Args:
        logits: [...] float; p_t is sigmoid(logits) where the target is 1, else 1 minus it.
        target: [...], 0 or 1.
        alpha: weight of the positive, whose complement is the negative's; None for no weights.
        gamma: at least 0; larger counts easy examples less.

    Raises:
        ValueError: shapes differ, or alpha or gamma out of range.

    Source: Lin et al., "Focal loss for dense object detection", 2017, equation 5;
        torchvision.ops.sigmoid_focal_loss (whose alpha -1 is None here).
    """
    logits, target = inputs.wide(logits), inputs.wide(target)
    inputs.check_same_shape(logits=logits, target=target)
    if gamma < 0 or (alpha is not None and not 0 <= alpha <= 1):
        raise ValueError(f"expected alpha in [0, 1] or None and gamma >= 0, got {alpha}, {gamma}.")
    signed = logits * (2 * target - 1)  # p_t = sigmoid(signed)
    # (1 - p_t)^gamma by its logarithm: the power's own gradient is infinite at p_t = 1.
    loss = jnp.exp(gamma * jax.nn.log_sigmoid(-signed)) * jax.nn.softplus(-signed)
    return loss if alpha is None else loss * (alpha * target + (1 - alpha) * (1 - target))


@one_program("log_target")
def kl_divergence(log_probabilities, target, *, log_target=False):
    """target (log target - log p), element by element: [..., K] -> [..., K]; 0 where target is 0.

    Summed over K it is the divergence of p from the target.

    Args:
        log_probabilities: [..., K] float.
        target: [..., K], probabilities, or their logarithms if `log_target`.

    Raises:
        ValueError: shapes differ.

    Source: torch.nn.functional.kl_div.
    """
    log_probabilities, target = inputs.wide(log_probabilities), inputs.wide(target)
    inputs.check_same_shape(log_probabilities=log_probabilities, target=target)
    if log_target:
        return jnp.exp(target) * (target - log_probabilities)
    # A probability of 0 is fine where nothing is expected, though 0 times -inf is nan.
    log_probabilities = jnp.where(target == 0, 0, log_probabilities)
    return jax.scipy.special.xlogy(target, target) - target * log_probabilities


@one_program()
def hinge(prediction, target):
    """max(0, 1 - target * prediction), for targets of -1 and 1: [...] -> [...]."""
    prediction, target = inputs.wide(prediction), jnp.asarray(target)
    inputs.check_same_shape(prediction=prediction, target=target)
    return jax.nn.relu(1 - target * prediction)


@one_program()
def squared_hinge(prediction, target):
    """The square of `hinge`: [...] -> [...]."""
    return jnp.square(hinge(prediction, target))


@one_program("margin", "power")
def multi_margin(logits, label, *, margin=1.0, power=1):
    """How far other classes come within a margin of the label's: [..., K] -> [...].

    1/K of the sum over k != label of max(0, margin - logits_label + logits_k)^power; nan for a
    label outside 0..K-1.

    Raises:
        ValueError: labels that do not fit, or a power other than 1 and 2.

    Source: torch.nn.functional.multi_margin_loss.
    """
    logits, label = inputs.wide(logits), jnp.asarray(label)
    inputs.check_labels(logits, label, name="logits")
    if power not in (1, 2):
        raise ValueError(f"power must be 1 or 2, got {power}.")
    num_classes = logits.shape[-1]
    excess = jax.nn.relu(margin - _at_label(logits, label)[..., None] + logits) ** power
    other = jnp.arange(num_classes) != label[..., None]
    return jnp.where(other, excess, 0).sum(-1) / num_classes


def _at_label(values, label):
    """The value of each label's class: [..., K] and [...] -> [...], nan outside 0..K-1."""
    # Negative indices would count from the end; K is out of range on either side.
    label = jnp.where(label < 0, values.shape[-1], label)
    return jnp.take_along_axis(values, label[..., None], axis=-1, mode="fill")[..., 0]


def _class_weights(class_weight, num_classes):
    """[num_classes] float32, or 1."""
    if class_weight is None:
        return 1.0
    weights = inputs.wide(class_weight)
    if weights.shape != (num_classes,):
        raise ValueError(
            f"class_weight must be [{num_classes}], one a class, got {list(weights.shape)}."
        )
    return weights


def _ignored(label, ignore_index):
    if ignore_index is None:
        return jnp.zeros(label.shape, bool)
    return label == ignore_index
