"""Architectures, one file each (or one per family that shares blocks), created by name."""

from jaxcv.models.table import available, create

__all__ = ["available", "create"]
