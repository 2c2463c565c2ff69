"""Measures a trained run on any split, every example once, and draws what it sees.

    python -m experiments.evaluate --workdir=runs/lenet --split=test

The folder is one that experiments.train was given. Fields of its config can be replaced, say
--config.data.dir=FOLDER for data in another place or --config.batch_size=512. Several views of
each image, whose probabilities are averaged: --config.views.ten_crop=224 (corners, centre, their
mirrors), --config.views.sizes=224,256,288, --config.views.mirror=true. Writes evaluation/SPLIT.json
and pictures into the folder and prints the metrics.
"""

import json

from absl import flags

from experiments import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_string("split", "test", "Split of the data set, as the set names it.")
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; default: the newest.")


def main(overrides):
    import pathlib

    import jax

    from experiments import parts
    from jaxcv import draw, train

    folder = pathlib.Path(_WORKDIR.value) / "evaluation"
    with cli.door():
        split = _SPLIT.value
        splits = {"data.train_split": split, "data.eval_splits": (split,)}
        splits["data.labels_per_class"] = 0  # a limit of training alone
        config = parts.open_run(_WORKDIR.value, overrides | splits)
        train.setup(compilation_cache=config.compilation_cache)
        batches = parts.open_data(config)
        task, step, variables = parts.trained_task(
            config, _WORKDIR.value, batches.example, _STEP.value
        )
    stream = batches.evaluation[split]
    measured = train.evaluator(task)(train.replicate(variables), stream())
    content = {"step": step, "split": split, "metrics": measured.metrics}
    train.write_whole(folder / f"{split}.json", json.dumps(content, indent=2) + "\n")
    batch = next(iter(stream()))
    count = min(config.pictures, int(batch["weight"].sum()))
    if count:
        inputs = {name: array[:count] for name, array in batch.items()}
        predictions = jax.device_get(jax.jit(task.predict)(variables, inputs))
        for name, picture in task.draw(inputs, predictions, measured.sums).items():
            draw.save(folder / f"{split}_{name}", picture)
    print(f"step {step}, {split}:\n{parts.show(measured.metrics)}\nwritten to {folder}")


if __name__ == "__main__":
    cli.run(main, __doc__, required=("workdir",))
