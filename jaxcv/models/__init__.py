"""Architectures, one file each (or one per family that shares blocks), created by name."""

from jaxcv.models.summary import Layer, layer_rows, layer_table
from jaxcv.models.table import available, create

__all__ = ["Layer", "available", "create", "layer_rows", "layer_table"]
