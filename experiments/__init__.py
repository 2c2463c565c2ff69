"""Scripts that train, evaluate, predict and report; and their configs, for notebooks."""

from experiments.config import load_config

__all__ = ["load_config"]
