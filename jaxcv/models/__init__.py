"""Architectures, one file each (or one per family that shares blocks), created by name."""

from jaxcv.models.class_activation import class_activation_map, pooled_head
from jaxcv.models.receptive_field import (
    ReceptiveField,
    Window,
    measured_receptive_field,
    receptive_field,
)
from jaxcv.models.summary import Layer, layer_rows, layer_table
from jaxcv.models.table import available, create

__all__ = [
    "Layer",
    "ReceptiveField",
    "Window",
    "available",
    "class_activation_map",
    "create",
    "layer_rows",
    "layer_table",
    "measured_receptive_field",
    "pooled_head",
    "receptive_field",
]
