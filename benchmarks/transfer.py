"""Whether a few labels go further with features that were learned on other classes.

    python -m benchmarks.transfer --output=docs/transfer.md --data_dir=FOLDER

Runs configs/classification/transfer_cifar10.py by the commands of its header: a network learns one
half of the classes; for each seed, which draws the labels and the initialisation, another starts
from its parameters, which stay as they are but for a new head, and one from scratch, both on the
same few labels of the other half. Linear SVMs on the pooled last map of the first network as it is
learn from these labels too. The table has the accuracy of the three on all test images of that
half, and the mean difference of the first two beside its standard error. Interrupted, it goes on
where it was.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from experiments import load_config, parts
from jaxcv import models, ops, train
from jaxcv.data import augment

OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write; none if absent")
RUNS = flags.DEFINE_string("runs", "runs/transfer", "Folder of the runs' folders")
SEEDS = flags.DEFINE_integer("seeds", 5, "How many: 0, 1, ...")
DATA = flags.DEFINE_string("data_dir", None, "Folder of TFDS's sets; default: the config's")
CONFIG = "configs/classification/transfer_cifar10.py"


def main(_):
    logging.set_verbosity(logging.WARNING)  # orbax tells of every file
    folder = pathlib.Path(RUNS.value)
    pretrained = _run(f"{CONFIG}:pretrain", folder / "pretrained")
    start = {
        "init_from": str(folder / "pretrained"),
        "init_exclude": "linear/.*",
        "optimizer.freeze": "(?!linear/).*",
    }
    scratch, transferred, machines = [], [], []
    for seed in range(SEEDS.value):
        scratch.append(_run(CONFIG, folder / f"scratch{seed}", seed=seed))
        transferred.append(_run(CONFIG, folder / f"transfer{seed}", seed=seed, **start))
        machines.append(_svm_accuracy(folder / "pretrained", _config(CONFIG, seed=seed)))
    text = _table(pretrained, scratch, transferred, machines)
    print(text, end="")
    if OUTPUT.value:
        train.write_whole(OUTPUT.value, text)


def _run(path, workdir, **fields):
    """result.json of a run, as `experiments.train` makes it."""
    config = _config(path, **fields)
    train.setup(compilation_cache=config.compilation_cache)
    task, batches, variables = parts.prepare(config, workdir)
    result = train.loop(task, batches, config, workdir, variables)
    if result is None:
        sys.exit(f"Stopped in {workdir}. The same command goes on.")
    return result


def _config(path, **fields):
    return load_config(path, **fields, **({"data.dir": DATA.value} if DATA.value else {}))


def _svm_accuracy(pretrained, config):
    """Of linear SVMs on features of the network in a folder, with the labels of a config's run."""
    batches = parts.open_data(config)
    learned = parts.open_run(pretrained, {})
    _, _, variables = parts.trained_task(learned, pretrained, batches.example, None)
    attributes = {**learned.model, "num_classes": len(learned.data.class_names)}
    head = models.pooled_head(models.create(attributes.pop("name"), **attributes))

    @jax.jit
    def features(image):
        image = augment.as_float(image)
        image = augment.normalize(image, mean=learned.data.mean, std=learned.data.std)
        return head(variables, image)[0].mean((1, 2))

    batch = next(iter(batches.train(0)))  # all there is
    svm = ops.linear_svm(
        features(batch["image"]),
        jnp.asarray(batch["label"]),
        num_classes=len(config.data.class_names),
    )
    right = count = 0
    for batch in batches.evaluation["test"]():
        scores = features(batch["image"]) @ svm.weights.T + svm.bias
        right += ((scores.argmax(1) == batch["label"]) * batch["weight"]).sum()
        count += batch["weight"].sum()
    return float(right / count)


def _table(pretrained, scratch, transferred, machines):
    rows = [
        [first["metrics"]["test/top1"], second["metrics"]["test/top1"], machine]
        for first, second, machine in zip(scratch, transferred, machines)
    ]
    difference = np.diff(rows)[:, 0]
    error = difference.std(ddof=1) / len(difference) ** 0.5
    minutes = sum(result["seconds"] for result in (pretrained, *scratch, *transferred)) / 60
    lines = [
        "# A few labels, with and without features learned on other classes",
        "",
        f"By `python -m benchmarks.transfer`, jax {jax.__version__} on {pretrained['device']},"
        f" {minutes:.1f} minutes in all.",
        f"The network that knows the other half: {pretrained['metrics']['test/top1']:.1%} there.",
        "Top-1 on the test images of this half:",
        "",
        "| seed | from scratch | transferred | linear SVM on features |",
        "|---|---|---|---|",
        *(f"| {i} | {a:.1%} | {b:.1%} | {c:.1%} |" for i, (a, b, c) in enumerate(rows)),
        "",
        f"Transferred over scratch: {difference.mean():+.1%}, standard error {error:.1%}."
        f" The SVMs: {np.mean(machines):.1%}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
