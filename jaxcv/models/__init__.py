"""Architectures, one file each (or one per family that shares blocks), created by name."""

from jaxcv.models.class_activation import class_activation_map, pooled_head
from jaxcv.models.summary import Layer, layer_rows, layer_table
from jaxcv.models.table import available, create

__all__ = [
    "Layer",
    "available",
    "class_activation_map",
    "create",
    "layer_rows",
    "layer_table",
    "pooled_head",
]
