"""Whether a few labels go further with features that were learned on other classes.

    python -m benchmarks.transfer --output=docs/transfer.md --data_dir=FOLDER

Runs configs/classification/transfer_cifar10.py by the commands of its header: a network learns one
half of the classes; for each seed, which draws the labels and the initialisation, another starts
from its parameters, which stay as they are but for a new head, and one from scratch, both on the
same few labels of the other half. The table has the accuracy of the two on all test images of that
half, and the mean difference beside its standard error. Interrupted, it goes on where it was.
"""

import pathlib
import sys

import jax
import numpy as np
from absl import app, flags, logging

from experiments import load_config, parts
from jaxcv import train

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
    scratch, transferred = [], []
    for seed in range(SEEDS.value):
        scratch.append(_run(CONFIG, folder / f"scratch{seed}", seed=seed))
        transferred.append(_run(CONFIG, folder / f"transfer{seed}", seed=seed, **start))
    text = _table(pretrained, scratch, transferred)
    print(text, end="")
    if OUTPUT.value:
        train.write_whole(OUTPUT.value, text)


def _run(path, workdir, **fields):
    """result.json of a run, as `experiments.train` makes it."""
    fields |= {"data.dir": DATA.value} if DATA.value else {}
    config = load_config(path, **fields)
    train.setup(compilation_cache=config.compilation_cache)
    task, batches, variables = parts.prepare(config, workdir)
    result = train.loop(task, batches, config, workdir, variables)
    if result is None:
        sys.exit(f"Stopped in {workdir}. The same command goes on.")
    return result


def _table(pretrained, scratch, transferred):
    rows = [
        [result["metrics"]["test/top1"] for result in pair] for pair in zip(scratch, transferred)
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
        "| seed | from scratch | transferred |",
        "|---|---|---|",
        *(f"| {i} | {first:.1%} | {second:.1%} |" for i, (first, second) in enumerate(rows)),
        "",
        f"Transferred over scratch: {difference.mean():+.1%}, standard error {error:.1%}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
