"""Checkpoints: written behind the run's back, found again after any accident.

A checkpoint is a flat {name: array} with notes (JSON), one of which is a digest of the arrays: orbax
restores a flipped bit silently. Only the first process reads and writes.
"""

import math
import os
import pathlib
import shutil

from jaxcv.train import state as states


class Checkpoints:
    """The checkpoints below a folder, one folder a step, of a run that adds to them.

    Args:
        folder: where they are; made if absent.
        keep: how many of the newest are kept, at least 1.
        mode: "max" or "min": the checkpoint of the best value is kept too; None: values are ignored.
        say: function of a message for people.
    """

    def __init__(self, folder, *, keep, mode=None, say=print):
        self._folder = pathlib.Path(folder)
        self._keep, self._mode, self._say = keep, mode, say
        self._pending = None  # the step whose commit has not been seen
        self._manager = None

    def newest(self):
        """(step, arrays, notes) of the newest checkpoint that is whole, None without any.

        Damaged ones are said and moved to the folder "damaged" beside.
        """
        for step in reversed(steps(self._folder)):
            try:
                return read(self._folder, step)
            # What a damaged file raises in orbax and TensorStore has no common type.
            except Exception as error:
                aside = self._set_aside(step)
                self._say(
                    f"The checkpoint of step {step} is damaged ({_first_line(error)});"
                    f" it was moved to {aside}. Trying the one before."
                )
        return None

    def save(self, step, arrays, notes, *, value=None):
        """Starts writing a checkpoint, after the one before has been seen to arrive.

        Args:
            step: int. A step that is there already is left alone.
            arrays: {name: NumPy array}, which nobody changes afterwards.
            notes: dict that JSON can hold.
            value: what decides which checkpoint is best; None if this one is not.

        Returns:
            Whether the checkpoint before this one, if any, arrived.
        """
        arrived = self.wait()
        if step in steps(self._folder):
            return arrived
        import orbax.checkpoint as ocp

        arrays = {
            name: array for name, array in arrays.items() if array.size
        }  # orbax refuses these
        if value is None:
            value = math.inf if self._mode == "min" else -math.inf
        try:
            self._open().save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.PyTreeSave(arrays),
                    notes=ocp.args.JsonSave(notes | {"digest": states.digest(arrays)}),
                ),
                metrics={"value": value},
            )
            self._pending = step
        except Exception as error:  # orbax wraps a full disk in errors of several types
            self._failed(step, error)
        return arrived

    def wait(self):
        """Waits for the save under way; returns whether it arrived (True if there was none)."""
        step, self._pending = self._pending, None
        if step is None:
            return True
        try:
            self._manager.wait_until_finished()
            if step not in steps(self._folder):
                raise OSError("the folder is not there after the commit")
        except Exception as error:
            self._failed(step, error)
            return False
        return True

    def close(self):
        """Waits for the save under way and ends; returns whether it arrived."""
        arrived = self.wait()
        if self._manager is not None:
            self._manager.close()
        return arrived

    def _failed(self, step, error):
        self._say(
            f"THE CHECKPOINT OF STEP {step} WAS NOT WRITTEN: {_first_line(error)}."
            " Earlier ones are intact; the run goes on and the next one will be tried."
        )
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
                create=False,
                # No barriers: the other processes are told what was read, and write nothing.
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=0, active_processes={0}, barrier_sync_key_prefix="checkpoints"
                ),
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
        ValueError: its digest does not match its arrays.
    """
    import orbax.checkpoint as ocp

    there = steps(folder)
    if not there or step not in (None, *there):
        wanted = "No checkpoint" if step is None else f"No checkpoint of step {step}"
        raise FileNotFoundError(
            f"{wanted} in {folder}; there is: {', '.join(map(str, there)) or 'none'}."
        )
    step = there[-1] if step is None else step
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        items = checkpointer.restore(
            pathlib.Path(folder).resolve() / str(step),
            args=ocp.args.Composite(arrays=ocp.args.PyTreeRestore(), notes=ocp.args.JsonRestore()),
        )
    arrays, notes = items["arrays"], items["notes"]
    if states.digest(arrays) != notes["digest"]:
        raise ValueError(f"the digest of checkpoint {step} in {folder} does not match its arrays")
    return step, arrays, notes


def _value_of(metrics):
    return metrics["value"]


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
