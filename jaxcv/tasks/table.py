"""Which file makes which task."""

import difflib
import importlib

_FILES = {"classification": "classification"}


def create(config):
    """The `train.Task` of a run: pure functions made from its config.

    Args:
        config: a ConfigDict with the fields of configs/base.py, `data.class_names` filled in.

    Raises:
        ValueError: an unknown task, or fields that its file finds wrong.
    """
    if config.task not in _FILES:
        near = difflib.get_close_matches(str(config.task), _FILES) or list(_FILES)
        raise ValueError(f"task is {config.task!r}, which is unknown. Nearest: {', '.join(near)}.")
    return importlib.import_module(f"jaxcv.tasks.{_FILES[config.task]}").create(config)
