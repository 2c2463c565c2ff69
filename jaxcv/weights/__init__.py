"""Published checkpoints <-> variables."""

from jaxcv.weights.conversion import Interface, convert, interface, to_state_dict, to_variables
from jaxcv.weights.files import load, save
from jaxcv.weights.table import Published, available, fetch, published

__all__ = [
    "Interface",
    "Published",
    "available",
    "convert",
    "fetch",
    "interface",
    "load",
    "published",
    "save",
    "to_state_dict",
    "to_variables",
]
