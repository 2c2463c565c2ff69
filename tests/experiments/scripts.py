"""Running scripts as `python -m` does, without paying for the imports each time.

A clean process imports what the scripts use, once; each run is a fork of it.
"""

import dataclasses
import multiprocessing
import os
import pathlib
import runpy
import sys

from tests import xla

ROOT = pathlib.Path(__file__).parents[2]
_IMPORTED = [
    "jaxcv.models.lenet",
    "jaxcv.tasks.classification",
    "orbax.checkpoint",
    "PIL.Image",
    "sklearn.datasets",
    "tensorboardX",
]

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(_IMPORTED)


@dataclasses.dataclass(frozen=True)
class Ran:
    """How a script ended: exit status, what it printed, and how many programs it compiled."""

    status: int
    stdout: str
    stderr: str
    compiled: int


def run(folder, script, *arguments, devices=1, timeout=600, optimized=True):
    """Runs `python -m experiments.SCRIPT ARGUMENTS` with `folder` for its output: -> Ran.

    Args:
        folder: pathlib.Path of an existing folder.
        script: "train", "evaluate", ...
        *arguments: of the command line.
        devices: how many CPU devices are simulated.
        timeout: seconds until it is killed, with a status below 0.
        optimized: False compiles in half the time what then runs slower.
    """
    files = [folder / f".{name}" for name in ("stdout", "stderr", "compiled")]
    process = _processes.Process(target=_run, args=(script, arguments, devices, files, optimized))
    process.start()
    process.join(timeout)
    process.kill()
    process.join()
    stdout, stderr, compiled = (file.read_text() for file in files)
    return Ran(process.exitcode, stdout, stderr, compiled.count("."))


def _run(script, arguments, devices, files, optimized):
    for file, descriptor in zip(files, (1, 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ["XLA_FLAGS"] = xla.flags(devices, optimized=optimized)
    os.chdir(ROOT)
    sys.argv = [script, *arguments]
    with open(files[2], "w", buffering=1) as counter:
        _count_compilations(counter)
        runpy.run_module(f"experiments.{script}", run_name="__main__", alter_sys=True)


def _count_compilations(counter):
    import jax

    def count(event, duration, **_):
        if event == xla.COMPILED:
            counter.write(".")

    jax.monitoring.register_event_duration_secs_listener(count)
