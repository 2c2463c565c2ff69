"""What a result is worth: (prediction, target) -> sums that add up, and sums -> numbers."""

from jaxcv.metrics.classification import (
    classification_scores,
    classification_sums,
    precision_recall,
    threshold_sums,
)

__all__ = [
    "classification_scores",
    "classification_sums",
    "precision_recall",
    "threshold_sums",
]
