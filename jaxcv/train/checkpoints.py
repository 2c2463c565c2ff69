"""Checkpoints: written behind the run's back, found again after any accident.

A checkpoint is a flat {name: array} with notes (JSON) and a digest of both: orbax restores a
flipped bit silently. Only the first process reads and writes.
"""

import json
import math
import os
import pathlib
import shutil

import jax
import numpy as np

from jaxcv.train import state as states

_DELETED = "deleted"  # where orbax moves what goes: a kill while files go leaves no half checkpoint


class Checkpoints:
    """The checkpoints below a folder, one folder a step, of a run that adds to them.

    Args:
        folder: where they are; made if absent.
        keep: how many of the newest are kept, at least 1.
        mode: "max" or "min": the checkpoint of the best value is kept too; None: of no value.
        say: function of a message for people.
    """

    def __init__(self, folder, *, keep, mode=None, say=print):
        self._folder = pathlib.Path(folder).absolute()  # orbax wants it so
        self._keep, self._mode, self._say = keep, mode, say
        self._pending = None  # the step whose commit has not been seen
        self._arrived = True  # whether the last one whose end was seen is there
        self._manager = None

    def newest(self):
        """(step, arrays, notes) of the newest checkpoint that is whole, None without any.

        All are read. Damaged ones are said and moved to the folder "damaged" beside.
        """
        found, there = None, steps(self._folder)
        for step in there:
            try:
                found = read(self._folder, step)
            except ValueError as error:
                self._say(f"{error} It was moved to {self._set_aside(step)}.")
        if there and found is None:
            self._say("No checkpoint is whole: starting anew.")
        return found

    def last(self):
        """The step of the newest checkpoint, after the save under way; None without any."""
        self.wait()
        return max(steps(self._folder), default=None)

    def save(self, step, arrays, notes, *, value=None):
        """Starts writing a checkpoint, after the one before has been seen to arrive.

        Args:
            step: int. A step that is there already is left alone.
            arrays: {name: NumPy array}, which nobody changes afterwards.
            notes: dict that JSON can hold.
            value: what decides which checkpoint is best; None if this one is not.
        """
        self.wait()
        if step in steps(self._folder):
            return
        import orbax.checkpoint as ocp

        # orbax refuses arrays without elements.
        arrays = {name: array for name, array in arrays.items() if array.size}
        if value is None:
            value = math.inf if self._mode == "min" else -math.inf
        # A copy: it is written behind the back of a run that goes on adding to its sums.
        notes = json.loads(json.dumps(notes | {"value": value}))
        try:
            self._open().save(
                step,
                args=ocp.args.Composite(arrays=ocp.args.PyTreeSave(arrays)),
                metrics=notes | {"digest": _digest(arrays, notes)},
            )
            self._pending = step
        except Exception as error:  # orbax wraps a full disk in errors of several types
            self._failed(step, error)

    def wait(self):
        """Waits for the save under way; returns whether the last save arrived (True before any)."""
        step, self._pending = self._pending, None
        if step is not None:
            try:
                self._manager.wait_until_finished()
                if step not in steps(self._folder):
                    raise OSError("the folder is not there after the commit")
                self._arrived = True
            except Exception as error:
                self._failed(step, error)
            shutil.rmtree(self._folder / _DELETED, ignore_errors=True)
        return self._arrived

    def close(self):
        """Waits for the save under way and ends."""
        self.wait()
        if self._manager is not None:
            self._manager.close()

    def _failed(self, step, error):
        self._say(
            f"THE CHECKPOINT OF STEP {step} WAS NOT WRITTEN: {_first_line(error)}."
            " Earlier ones are intact; the run goes on and the next one will be tried."
        )
        self._arrived = False
        # orbax counts the failed step as its newest until it looks at the disk again.
        self._manager = None

    def _set_aside(self, step):
        aside = self._folder.parent / "damaged" / str(step)
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        os.replace(self._folder / str(step), aside)
        return aside

    def _open(self):
        if self._manager is not None:
            return self._manager
        import orbax.checkpoint as ocp

        managers = ocp.checkpoint_managers
        self._folder.mkdir(parents=True, exist_ok=True)
        # `max_to_keep` with `best_fn` would delete the newest for the best.
        policies = [managers.LatestN(self._keep)]
        if self._mode is not None:
            best = managers.BestN(get_metric_fn=_value_of, reverse=self._mode == "min", n=1)
            policies.append(best)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy(policies),
                best_fn=_value_of,
                cleanup_tmp_directories=True,
                todelete_subdir=_DELETED,
                create=False,
                multiprocessing_options=_alone(),
            ),
        )
        return self._manager


def steps(folder):
    """The steps that have a checkpoint below `folder`, whole or not, in rising order."""
    folder = pathlib.Path(folder)
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def read(folder, step=None):
    """(step, {name: array}, notes) of one checkpoint, the newest if `step` is None.

    Arrays without elements are not in the file and so not in the result.

    Raises:
        FileNotFoundError: there is none, or not this step; says which there are.
        ValueError: it is damaged.
    """
    import orbax.checkpoint as ocp

    there = steps(folder)
    if not there or step not in (None, *there):
        wanted = "No checkpoint" if step is None else f"No checkpoint of step {step}"
        raise FileNotFoundError(
            f"{wanted} in {folder}; there is: {', '.join(map(str, there)) or 'none'}."
        )
    step = there[-1] if step is None else step
    handler = ocp.CompositeCheckpointHandler(
        arrays=ocp.PyTreeCheckpointHandler(), metrics=ocp.JsonCheckpointHandler("metrics")
    )
    wanted = ocp.args.Composite(arrays=ocp.args.PyTreeRestore(), metrics=ocp.args.JsonRestore())
    try:
        with ocp.Checkpointer(handler, multiprocessing_options=_alone()) as checkpointer:
            items = checkpointer.restore(pathlib.Path(folder).absolute() / str(step), args=wanted)
        arrays, notes = items["arrays"], items["metrics"]
        if _digest(arrays, notes) != notes["digest"]:
            raise ValueError("its digest does not match its content")
    except Exception as error:  # what a damaged file raises in orbax and below has no common type
        raise ValueError(
            f"The checkpoint of step {step} in {folder} is damaged: {_first_line(error)}."
        ) from error
    return step, arrays, notes


def _digest(arrays, notes):
    """sha256 over arrays and notes, "digest" left out."""
    notes = {name: value for name, value in notes.items() if name != "digest"}
    text = json.dumps(notes, sort_keys=True).encode()
    return states.digest(arrays | {"notes": np.frombuffer(text, np.uint8)})


def _alone():
    """Options that keep orbax from waiting for the other processes, which are elsewhere."""
    import orbax.checkpoint as ocp

    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=process,
        active_processes={process},
        barrier_sync_key_prefix=f"process{process}",
    )


def _value_of(notes):
    return notes["value"]


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
