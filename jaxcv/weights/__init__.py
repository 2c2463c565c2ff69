"""Published checkpoints <-> variables."""

from jaxcv.weights.conversion import convert, to_state_dict, to_variables
from jaxcv.weights.files import load, save
from jaxcv.weights.table import Published, available, fetch, published

__all__ = [
    "Published",
    "available",
    "convert",
    "fetch",
    "load",
    "published",
    "save",
    "to_state_dict",
    "to_variables",
]
