"""Published checkpoints <-> variables."""

from jaxcv.weights.conversion import convert, to_state_dict, to_variables

__all__ = ["convert", "to_state_dict", "to_variables"]
