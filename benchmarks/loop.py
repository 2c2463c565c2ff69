"""What the loop costs: its steps beside the bare jitted step, in turn, in one run.

    python -m benchmarks.loop --data_dir=/path/to/tensorflow_datasets

LeNet-5 at batch 256 on MNIST as configs/classification/lenet_mnist.py trains it; without --data_dir
on random images of MNIST's size and number. The loop reads data, adds up metrics, logs every 100
steps and saves a checkpoint every 1,000; evaluation is off. The bare step is the same compiled
function, fed one batch that is on the device already. They take turns of 100 steps (--turn), so
that what else the machine does hits both; where that is much, the ratio of the processor times says
more than that of the wall's. A figure is the median over turns. The goal is a ratio of 0.95. Prints
the figures and writes them to benchmarks/results/.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
import tempfile
import time

import jax
import numpy as np
from absl import app, flags, logging

from experiments import load_config
from jaxcv import data, tasks, train
from jaxcv.data import pipeline
from jaxcv.data.source import reader
from jaxcv.train import optimizers, report, schedules
from jaxcv.train import state as states
from jaxcv.train.batches import placed
from jaxcv.train.checkpoints import Checkpoints
from jaxcv.train.step import train_step

DATA_DIR = flags.DEFINE_string("data_dir", "", "folder of TFDS's sets with MNIST; random if empty")
TURN = flags.DEFINE_integer("turn", 100, "steps of a turn; the loop logs once in each", 2)
ROUNDS = flags.DEFINE_integer("rounds", 3, "checkpoints; there is one every ten turns", 1)
OUTPUT = flags.DEFINE_string("output", None, "result file without ending; none if empty")

FOLDER = pathlib.Path(__file__).parent
TURNS_A_CHECKPOINT = 10
CHECKPOINTS = 5  # saved one by one, to see what one costs


class Turns:
    """The Data `batches`, where the training stream makes the loop take turns with `bare`.

    Attributes:
        loop, bare: (seconds, processor seconds of all threads) of a step in each turn.
    """

    def __init__(self, batches, bare):
        self.loop, self.bare = [], []
        self._batches, self._bare = batches, bare

    def data(self):
        return dataclasses.replace(self._batches, train=self._stream)

    def _stream(self, start):
        begun = None
        for i, batch in enumerate(self._batches.train(start)):
            # Half a turn late, so that logs and checkpoints fall into the middle of one.
            if i % TURN.value == TURN.value // 2:
                if begun is not None:
                    # The loop's last step is still under way. The bare side waits for it before
                    # its clock starts, so it is nobody's.
                    self.loop.append((_clocks() - begun) / (TURN.value - 1))
                self.bare.append(self._bare.turn())
                begun = _clocks()
            yield batch


class Bare:
    """The step alone, on one batch that stays on the device."""

    def __init__(self, task, config, variables, batches):
        rate, momentum = schedules.create(config.schedule, steps=config.steps)
        rules = {
            player: optimizers.create(
                config.optimizer, rate, variables["params"], momentum=momentum
            )
            for player in task.losses
        }
        self.state = states.create(variables, rules, seed=config.seed, ema=False)
        self._step = train_step(task, rules)
        self._batch = next(placed(batches.train(0), micro_batches=1))
        self._run(1)

    def turn(self):
        """Takes a turn; the times of a step in it."""
        self._run(2)  # waits for what the loop left, and warms up
        begun = _clocks()
        self._run(TURN.value)
        return (_clocks() - begun) / TURN.value

    def _run(self, count):
        for _ in range(count):
            self.state, sums = self._step(self.state, self._batch)
        jax.block_until_ready(sums)


def open_data(config):
    """MNIST from --data_dir, or random arrays in its place."""
    if DATA_DIR.value:
        with config.unlocked():
            config.data.dir = DATA_DIR.value
        return data.create(config)
    random = np.random.default_rng(0)
    source = data.Source(
        name="random",
        split="train",
        size=60_000,
        read=reader(
            {
                "image": random.integers(0, 256, (60_000, 28, 28, 1), np.uint8),
                "label": random.integers(0, 10, 60_000, np.int32),
            }
        ),
        class_names=tuple("0123456789"),
        in_memory=True,
        example_name=str,
    )
    rows = functools.partial(
        pipeline.training_rows,
        size=source.size,
        seed=config.seed,
        batch_size=config.batch_size,
        accumulate=1,
        hosts=1,
        host=0,
    )

    def stream(start):
        numbers = range(start, config.steps)
        return pipeline.iterate(source, rows, numbers, workers=0, prefetch=config.data.prefetch)

    example = pipeline.read(source, np.zeros(1, int), np.ones(1, np.float32))
    return data.Data(train=stream, evaluation={}, sources={"train": source}, example=example)


def checkpoint_seconds(state, folder):
    """[CHECKPOINTS, 2]: seconds that a save keeps the loop's thread, and until it has arrived."""
    checkpoints = Checkpoints(folder, keep=2)
    seconds = []
    for step in range(CHECKPOINTS):
        begun = time.perf_counter()
        checkpoints.save(step, states.named(states.to_host(state)), {"step": step})
        kept = time.perf_counter() - begun
        checkpoints.wait()
        seconds.append([kept, time.perf_counter() - begun])
    checkpoints.close()
    return np.array(seconds)


def summary(turns, checkpoints):
    """The figures of a run as a dict of numbers."""
    loop, bare = np.array(turns.loop), np.array(turns.bare[: len(turns.loop)])  # [turns, 2]
    saving = np.arange(len(loop)) % TURNS_A_CHECKPOINT == TURNS_A_CHECKPOINT - 1
    plain, with_save = np.median(loop[~saving], 0), np.median(loop[saving], 0)
    loop_step = plain + (with_save - plain) / TURNS_A_CHECKPOINT
    bare_step = np.median(bare, 0)
    kept, arrived = np.median(checkpoints, 0) * 1e3
    quartiles = {"q": [25, 50, 75], "axis": 0}
    return {
        "ratio": bare_step[0] / loop_step[0],
        "ratio of processor time": bare_step[1] / loop_step[1],
        "ratio of neighbouring turns, quartiles": np.percentile((bare / loop)[:, 0], **quartiles),
        "bare, steps/s": 1 / bare_step[0],
        "loop, steps/s": 1 / loop_step[0],
        "bare, ms a step, quartiles": np.percentile(bare[:, 0] * 1e3, **quartiles),
        "loop, ms a step, quartiles": np.percentile(loop[:, 0] * 1e3, **quartiles),
        "turn with a checkpoint, ms more": (with_save - plain)[0] * TURN.value * 1e3,
        "checkpoint, ms on the loop's thread": kept,
        "checkpoint, ms until it has arrived": arrived,
        "peak memory, MB": report.peak_memory()["host_bytes"] / 2**20,
    }


def main(_):
    logging.set_verbosity(logging.WARNING)  # orbax tells of every file
    train.setup()
    every = TURN.value * TURNS_A_CHECKPOINT
    config = load_config(
        "configs/classification/lenet_mnist.py",
        **{"steps": every * ROUNDS.value + TURN.value, "batch_size": 256},
        **{"log_every": TURN.value, "checkpoint_every": every},
        **{"eval_every": 0, "pictures": 0, "best": ("", "max")},
        **{"data.eval_splits": ()},
    )
    batches = open_data(config)
    with config.unlocked():
        config.data.class_names = batches.sources["train"].class_names
    task = tasks.create(config)
    variables = train.initial_variables(task, batches.example, seed=config.seed)
    bare = Bare(task, config, variables, batches)
    turns = Turns(batches, bare)
    with tempfile.TemporaryDirectory() as folder:
        result = train.loop(task, turns.data(), config, pathlib.Path(folder) / "run", variables)
        if result is None:
            raise SystemExit("stopped: nothing to tell")
        checkpoints = checkpoint_seconds(bare.state, pathlib.Path(folder) / "checkpoints")
    figures = summary(turns, checkpoints)
    about = {
        "device": report.device(),
        "load": os.getloadavg(),
        "versions": report.versions(),
        "data": batches.sources["train"].name,
        "turns": len(turns.loop),
    }
    print("\n".join(f"| {name} | {_text(value)} |" for name, value in (about | figures).items()))
    output = OUTPUT.value
    if output is None:
        words = re.sub(r"\W+", "_", report.device()).strip("_")
        output = FOLDER / "results" / f"loop_{words}"
    if output:
        path = pathlib.Path(output).with_suffix(".json")
        content = about | figures | {"loop_s": turns.loop, "bare_s": turns.bare}
        train.write_whole(path, json.dumps(content, indent=1, default=np.ndarray.tolist) + "\n")


def _clocks():
    return np.array([time.perf_counter(), time.process_time()])


def _text(value):
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | np.ndarray):
        return ", ".join(map(_text, value))
    return str(value)


if __name__ == "__main__":
    app.run(main)
