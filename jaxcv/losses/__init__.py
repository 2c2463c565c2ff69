"""Losses: (prediction, target) -> one value per example or element, never a mean.

Whoever calls them sums, with weights, and divides by the sum of the weights of the whole batch.
Computed in float32 or wider, whatever the dtype of the prediction.
"""

from jaxcv.losses.classification import (
    binary_cross_entropy,
    cross_entropy,
    hinge,
    kl_divergence,
    label_weight,
    multi_margin,
    negative_log_likelihood,
    sigmoid_focal,
    squared_hinge,
)
from jaxcv.losses.metric import contrastive, cosine_embedding, margin_ranking, triplet_margin
from jaxcv.losses.regression import huber, l1, l2, smooth_l1

__all__ = [
    "binary_cross_entropy",
    "contrastive",
    "cosine_embedding",
    "cross_entropy",
    "hinge",
    "huber",
    "kl_divergence",
    "l1",
    "l2",
    "label_weight",
    "margin_ranking",
    "multi_margin",
    "negative_log_likelihood",
    "sigmoid_focal",
    "smooth_l1",
    "squared_hinge",
    "triplet_margin",
]
