"""What each process of a job of test_devices.py does: trains and measures on what devices it sees.

python -m tests.train.on_devices FOLDER PROCESS: FOLDER/job.json holds the job; its runs go into
FOLDER/NAME_ACCUMULATE_SEED, what was measured into FOLDER/measured.json.
"""

import dataclasses
import json
import pathlib
import sys

import jax

from experiments import load_config
from jaxcv import data, layers, tasks, train

_SAME = {
    "steps": 20,
    "log_every": 1,
    "checkpoint_every": 0,
    "eval_every": 0,
    "best": ("", "max"),
    "data.eval_splits": (),
}
RUNS = {
    # Training multiplies rounding errors: a ResNet's at the paper's rate of 0.1 some thousandfold
    # in 20 steps, and LeNet's likewise at its rate with a batch of 24 for its own of 128.
    "resnet": (
        "configs/classification/resnet20_cifar10.py:smoke",
        {"model.depth": 8, "model.width": 4, "data.image_size": 16, "batch_size": 16}
        | {"schedule.lr": 0.002, "augment.flip": True}
        | {"augment.mixup": 0.8, "augment.cutmix": 1.0},
    ),
    "lenet": (
        "configs/classification/lenet_digits.py",
        {"schedule.total_steps": 1000},
    ),
}


def main(folder, process):
    job = json.loads((folder / "job.json").read_text())
    if job["processes"] > 1:
        train.join(job["coordinator"], job["processes"], process)
    train.setup(compilation_cache=job["cache"])
    for name, accumulate, seed in job["runs"]:
        _train(folder / f"{name}_{accumulate}_{seed}", name, accumulate, seed)
    measured = {size: _measure(size, **job["measure"]) for size in job["batch_sizes"]}
    if process == 0:
        train.write_whole(folder / "measured.json", json.dumps(measured))


def _train(workdir, name, accumulate, seed):
    path, overrides = RUNS[name]
    config = load_config(path, accumulate=accumulate, seed=seed, **_SAME, **overrides)
    task, batches = _open(config)
    if name == "lenet":
        task = dataclasses.replace(
            task,
            losses={player: _with_dropout(loss) for player, loss in task.losses.items()},
        )
    variables = train.initial_variables(task, batches.example, seed=config.seed)
    train.loop(task, batches, config, workdir, variables)


def _measure(batch_size, *, run, images):
    """LeNet as trained in the folder `run`, on the folder `images`: metrics, counts and ids."""
    path, overrides = RUNS["lenet"]
    folder = {"data.name": "folder", "data.dir": images, "data.train_split": "test"}
    config = load_config(path, **overrides | folder | {"batch_size": batch_size})
    task, batches = _open(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0), batches.example)
    _, variables = train.run_variables(run, shapes)
    measured = train.evaluator(task)(train.replicate(variables), batches.evaluation["test"]())
    return {
        "metrics": measured.metrics,
        "confusion": measured.sums["confusion"].tolist(),
        "ids": measured.records["id"].tolist(),
    }


def _open(config):
    batches = data.create(config)
    with config.unlocked():
        config.data.class_names = batches.sources[config.data.train_split].class_names
    return tasks.create(config), batches


def _with_dropout(loss):
    """The loss of images of which a tenth of the pixels are dropped."""

    def dropped(variables, batch, key):
        dropout = layers.Dropout(0.1, deterministic=False)
        image = dropout.apply({}, batch["image"] / 255, rngs={"dropout": key})
        return loss(variables, batch | {"image": image}, key)

    return dropped


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
