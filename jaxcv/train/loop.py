"""The loop: one for all tasks. Steps, and now and then a line, an evaluation, a checkpoint."""

import contextlib
import functools
import io
import json
import math
import pathlib
import signal
import threading
import time

import jax
import numpy as np

from jaxcv.train import folder, optimizers, report, schedules
from jaxcv.train import state as states
from jaxcv.train.batches import placed
from jaxcv.train.checkpoints import Checkpoints
from jaxcv.train.evaluate import evaluator
from jaxcv.train.log import Console, Meter, MetricsLog
from jaxcv.train.step import train_step

_PROFILE_AFTER = 10  # steps: what comes first is not typical


class NotFinite(ArithmeticError):
    """The loss or the parameters are NaN or infinite; the last good checkpoint is intact."""


def loop(task, batches, config, workdir, variables):
    """Trains `task` on `batches` as `config` says, from `variables`, and returns the result.

    The same call on the same folder goes on where an earlier one stopped, to the bit on the same
    machine and versions. SIGTERM saves a checkpoint and returns early: after the step under way, or
    with several processes after a common one, a second or two later.

    Args:
        task: a Task.
        batches: what `data.create` gives: `train(start step)` and `evaluation[split]()` are
            iterators of this host's batches, `example` is a batch of one.
        config: a ConfigDict with the fields of configs/base.py.
        workdir: the run's folder, made if absent.
        variables: {"params": ..., other collections}: where to start if nothing was trained yet.

    Returns:
        What result.json holds; None if SIGTERM ended the run before its last step.

    Raises:
        FolderRefused: another run or another config has the folder, or it cannot be written.
        NotFinite: the loss is NaN or infinite.
        OSError: the last checkpoint could not be written.
    """
    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            stack.enter_context(folder.claim(workdir, config))
        sigterm = stack.enter_context(_sigterm())
        run = _Run(task, batches, config, pathlib.Path(workdir), variables)
        stack.callback(run.close)

        def due(every):
            return run.step == config.steps or (every and run.step % every == 0)

        with contextlib.closing(batches.train(run.step)) as stream:
            for batch in placed(stream, micro_batches=config.accumulate):
                run.advance(batch)
                if due(config.log_every):
                    run.log()
                improved = due(config.eval_every) and run.evaluate()
                if improved or due(config.checkpoint_every):
                    run.save()
                if run.step < config.steps and _asked_to_stop(sigterm, run.step):
                    run.stop()
                    return None
        return run.finish()


class _Run:
    """A run under way: its state, and whom it tells what."""

    def __init__(self, task, batches, config, workdir, variables):
        self.batches, self.config, self.workdir = batches, config, workdir
        self.first = jax.process_index() == 0  # of the processes; it alone reads and writes
        self.console = Console(quiet=not self.first)
        self.checkpoints = Checkpoints(
            workdir / "checkpoints",
            keep=config.checkpoint_keep,
            mode=config.best[1] if config.best[0] else None,
            say=self.console.say,
        )
        self.rate, momentum = schedules.create(config.schedule, steps=config.steps)
        rules = {
            player: optimizers.create(
                config.optimizer,
                self.rate,
                states.owned(variables["params"], player, task.losses),
                momentum=momentum,
            )
            for player in task.losses
        }
        self.state, notes = self._start(
            states.create(variables, rules, seed=config.seed, ema=config.ema > 0)
        )
        self.step = notes["step"]
        self.best = notes["best"]  # [step, value]
        self.metrics = notes["metrics"]  # {"split/name": the latest value}
        self.seconds = notes["seconds"]  # of earlier starts
        self.meter, self.unread = Meter(notes["sums"]), None
        self.started = time.monotonic()

        self._introduce(task, variables)
        self.writer = MetricsLog(workdir, step=self.step) if self.first else None
        self.console.start(self.step, config.steps, config.batch_size)
        self.new_step = functools.partial(
            train_step, task, rules, ema=config.ema, donate=not config.debug
        )
        self.train_step = self.new_step()
        self.evaluator, self.predict, self.draw = evaluator(task), jax.jit(task.predict), task.draw
        self.examples = {}  # split -> the batch that is drawn
        self.compiled = False
        self.profile, self.tracing = range(0), False
        if config.profile and self.first:
            begin = min(self.step + _PROFILE_AFTER, config.steps - config.profile_steps)
            begin = max(self.step, begin)
            self.profile = range(begin, min(begin + config.profile_steps, config.steps))

    def advance(self, batch):
        """One step; the sums of the one before are read meanwhile, which also keeps pace."""
        if self.profile and self.step == self.profile.start:
            jax.profiler.start_trace(self.workdir / "profile", create_perfetto_trace=True)
            self.tracing = True
        begun, before = time.monotonic(), self.state
        self.state, sums = self.train_step(before, batch)
        if self.config.debug and _has_nan(sums):
            # jax looks into what a program gives when it is new only, so this one is made anew.
            self.new_step()(before, batch)
        self._read()
        self.step, self.unread = self.step + 1, sums
        if not self.compiled:
            self._read()
            seconds = time.monotonic() - begun
            self.console.pause(seconds)
            self.console.say(f"first step after {seconds:.1f} s (compiling included)")
            self.compiled = True
        if self.tracing and self.step == self.profile.stop:
            self._read()
            self._stop_trace()
        self.console.tick()

    def log(self):
        """Tells what the steps since the last time gave on average."""
        self._read()
        values = self.meter.take() | {"learning_rate": float(self.rate(self.step - 1))}
        speed = self.console.report(self.step, values)
        self._write("train", values | {"examples_per_second": speed})

    def evaluate(self):
        """Measures every evaluation split, draws examples; whether the best metric improved."""
        begun = time.monotonic()
        self._read()
        variables = self.state["ema"] or self.state["variables"]
        improved = False
        for split, stream in self.batches.evaluation.items():
            measured = self.evaluator(variables, stream())
            self._write(split, measured.metrics)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in measured.metrics.items())
            self.console.say(f"step {self.step}  {split}: {shown}")
            if self.first and self.config.pictures:
                self._draw(split, variables, measured.sums)
            name = self.config.best[0].removeprefix(f"{split}/")
            if f"{split}/{name}" == self.config.best[0]:
                improved = self._improved(measured.metrics[name])
        self.console.pause(time.monotonic() - begun)
        return improved

    def save(self):
        """Starts writing a checkpoint of the state as it is."""
        self._read()
        if not self.first:
            return
        begun = time.monotonic()
        arrays = states.named(states.to_host(self.state))
        for name, array in arrays.items():
            if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
                raise NotFinite(
                    f"{name} is not finite after step {self.step}. No checkpoint of it was"
                    f" written. {self._advice()}"
                )
        evaluated = self.best is not None and self.best[0] == self.step
        self.checkpoints.save(
            self.step,
            arrays,
            {
                "step": self.step,
                "best": self.best,
                "metrics": self.metrics,
                "seconds": self._seconds(),
                "sums": self.meter.sums,
            },
            value=self.best[1] if evaluated else None,
        )
        self.console.pause(time.monotonic() - begun)

    def stop(self):
        """Saves, waits for the checkpoint and says how to go on."""
        self.save()
        self._arrive()
        self.console.say(
            f"Stopped by SIGTERM after step {self.step}; the same command goes on from there."
        )

    def finish(self):
        """Waits for the last checkpoint, writes result.json and returns what it holds."""
        self._arrive()
        config = folder.plain(self.config)
        result = {
            "metrics": self.metrics,
            "best": self.best and dict(zip(("step", self.config.best[0]), self.best)),
            "config": config,
            "seed": self.config.seed,
            "steps": self.step,
            "parameters": sum(
                math.prod(leaf.shape) for leaf in jax.tree.leaves(self.state["variables"]["params"])
            ),
            "params_sha256": states.digest(states.named(self.state["variables"]["params"])),
            "seconds": self._seconds(),
            "peak_memory": report.peak_memory(),
            "device": report.device(),
            "versions": report.versions(),
            "commit": report.commit(),
        }
        path = self.workdir / "result.json"
        if self.first:
            if not self.compiled:  # finished before, perhaps elsewhere
                there = folder.read_result(self.workdir)
                if there.get("params_sha256") == result["params_sha256"]:
                    return there
            folder.write_whole(path, json.dumps(result, indent=2, sort_keys=True) + "\n")
        return result

    def close(self):
        """Ends what runs beside the loop."""
        if self.tracing:
            self._stop_trace()
        self.checkpoints.close()
        self.console.close()
        if self.writer is not None:
            self.writer.close()

    def _start(self, fresh):
        """(state on all devices, notes): of the newest whole checkpoint, else `fresh`."""
        notes = {"step": 0, "best": None, "metrics": {}, "seconds": 0.0, "sums": {}}
        found = self.checkpoints.newest() if self.first else None
        arrays = states.to_host(fresh)
        if found is not None:
            step, named, notes = found
            origin = f"The checkpoint of step {step} in {self.workdir}"
            try:
                arrays = states.from_named(arrays, named, origin=origin)
            except ValueError as error:  # the code or its versions changed, for the config did not
                raise folder.FolderRefused(
                    f"{error} Give another folder with --workdir."
                ) from error
            self.console.say(f"Going on from the checkpoint of step {step}.")
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            arrays = multihost_utils.broadcast_one_to_all(arrays)
            notes = notes | {"step": int(arrays["step"])}
        elif found is None:
            return fresh, notes
        return states.replicate(arrays), notes

    def _introduce(self, task, variables):
        """The table of parameters, the work of an example, and where it runs."""
        if not self.first:
            return
        self.console.say(report.table(variables))
        flops = report.forward_flops(task, variables, self.batches.example)
        if flops:
            self.console.say(f"forward pass of one example: {flops / 1e6:,.2f} MFLOP")
        self.console.say(f"on {report.device()}, in {self.workdir}")

    def _read(self):
        """Adds the sums of the last step that were not read yet, and checks its loss."""
        if self.unread is None:
            return
        sums, self.unread = states.to_host(self.unread), None
        sums = {name: (float(amount), float(weight)) for name, (amount, weight) in sums.items()}
        for name, (amount, _) in sums.items():
            if name.startswith("loss/") and not math.isfinite(amount):
                raise NotFinite(f"{name} is {amount} at step {self.step}. {self._advice()}")
        self.meter.add(sums)

    def _stop_trace(self):
        jax.profiler.stop_trace()
        self.tracing = False
        steps = f"{self.profile.start + 1} to {self.step}"
        self.console.say(f"profile of steps {steps}: {self.workdir}/profile")

    def _advice(self):
        saved = self.checkpoints.last()
        last = "No checkpoint was saved before."
        if saved is not None:
            last = f"The last good checkpoint, of step {saved}, is intact in {self.workdir}."
        start = f" (with init_from={self.workdir} from there)" if saved is not None else ""
        look = "" if self.config.debug else ", or look for the place with --config.debug=true"
        return (
            f"{last} Lower schedule.lr or set optimizer.clip_global_norm in another --workdir"
            f"{start}{look}."
        )

    def _write(self, split, values):
        if self.writer is not None:
            with self._telling():
                self.writer.write(self.step, split, values)
        self.metrics = self.metrics | {f"{split}/{name}": v for name, v in values.items()}

    @contextlib.contextmanager
    def _telling(self):
        """Says in an OSError of the body what it means for the run."""
        try:
            yield
        except OSError as error:
            raise OSError(
                f"{self.workdir} cannot be written at step {self.step} ({error}). Make room there"
                " and give the same command again: it goes on from the last checkpoint."
            ) from error

    def _improved(self, value):
        sign = 1 if self.config.best[1] == "max" else -1
        before = -math.inf if self.best is None else sign * self.best[1]
        if not sign * value > before:  # so nan never improves
            return False
        self.best = [self.step, value]
        return True

    def _draw(self, split, variables, sums):
        if split not in self.examples:
            with contextlib.closing(self.batches.evaluation[split]()) as stream:
                batch = next(iter(stream))
            count = min(self.config.pictures, int(batch["weight"].sum()))
            self.examples[split] = jax.tree.map(lambda leaf: leaf[:count], batch)
        inputs = self.examples[split]
        local = jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, variables)
        predictions = states.to_host(self.predict(local, inputs))
        for name, picture in self.draw(inputs, predictions, sums).items():
            with self._telling():
                folder.write_whole(self.workdir / "pictures" / f"{split}_{name}", _png(picture))
                self.writer.picture(self.step, f"{split}/{name}", picture)

    def _arrive(self):
        if not self.checkpoints.wait():
            raise OSError(
                f"The checkpoint of step {self.step} could not be written to {self.workdir}. Make"
                " room there and give the same command again: it goes on from the one before."
            )

    def _seconds(self):
        return self.seconds + time.monotonic() - self.started


def _has_nan(tree):
    return any(np.isnan(leaf).any() for leaf in jax.tree.leaves(states.to_host(tree)))


def _png(picture):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


@contextlib.contextmanager
def _sigterm():
    """An event that SIGTERM sets, where this thread and process may catch it."""
    event = threading.Event()
    # With several processes jax's own coordination catches it, for all must stop at one step: it
    # looks once a second and stops them some steps later.
    if jax.process_count() > 1 or threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, before)


def _asked_to_stop(event, step):
    if jax.process_count() == 1:
        return event.is_set()
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)
