"""Tasks: what a batch is, its loss, metrics, predictions and pictures; one file each."""

from jaxcv.tasks.table import create

__all__ = ["create"]
