"""Training: state, step, loop, optimisers, schedules, checkpoints, logs. It knows no vision."""

from jaxcv.train.checkpoints import read as read_checkpoint
from jaxcv.train.evaluate import Measured, evaluator
from jaxcv.train.folder import FolderRefused, read_config, write_whole
from jaxcv.train.log import read_rows
from jaxcv.train.loop import NotFinite, loop
from jaxcv.train.runtime import join, setup
from jaxcv.train.start import check, initial_variables, run_variables, shapes
from jaxcv.train.state import digest, named, replicate
from jaxcv.train.task import Task

__all__ = [
    "FolderRefused",
    "Measured",
    "NotFinite",
    "Task",
    "check",
    "digest",
    "evaluator",
    "initial_variables",
    "join",
    "loop",
    "named",
    "read_checkpoint",
    "read_config",
    "read_rows",
    "replicate",
    "run_variables",
    "setup",
    "shapes",
    "write_whole",
]
