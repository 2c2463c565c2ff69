"""Measures a trained run on any split, every example once, and draws what it sees.

    python -m experiments.evaluate --workdir=runs/lenet --split=test
    python -m experiments.evaluate --model=resnet50 --weights=published --config.data.name=folder \
        --config.data.dir=FOLDER --split=val --output=runs/resnet50

Either of a run, whose folder experiments.train was given, or of a network of jaxcv.models with a
file of its weights, as of experiments.predict. Fields of the config can be replaced, say
--config.data.dir=FOLDER for data in another place or --config.batch_size=512. Several views of
each image, whose probabilities are averaged: --config.views.ten_crop=224 (corners, centre, their
mirrors), --config.views.sizes=224,256,288, --config.views.mirror=true. Writes SPLIT.json and
pictures, into the folder evaluation of the run or into --output, and prints the metrics.

Of a network the labels must be those it was trained on. A network of 1,000 classes has ImageNet's
unless --config.data.class_names says otherwise: a folder's class folders are then ImageNet's 1,000,
whose ids (n01440764) sort as networks count them, or have ImageNet's names. It sees the middle of
images (--config.data.eval_crop, 0 for all), which views.sizes then resizes.
"""

import json

from absl import flags

from experiments import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_string("split", "test", "Split of the data set, as the set names it.")
_STEP = flags.DEFINE_integer("step", None, "Step of the run's checkpoint; default: the newest.")
_MODEL = flags.DEFINE_string("model", None, "Name of a network, in place of a run.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Its checkpoint file, or published.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results; default: the run's own.")


def main(overrides):
    import pathlib

    import jax

    from experiments import parts
    from jaxcv import draw, train

    with cli.door():
        split = _SPLIT.value
        splits = {"data.train_split": split, "data.eval_splits": (split,)}
        splits["data.labels_per_class"] = 0  # a limit of training alone
        config = parts.run_or_published(
            _WORKDIR.value, _MODEL.value, _WEIGHTS.value, overrides | splits
        )
        if _MODEL.value and not (config.data.name and _OUTPUT.value):
            raise ValueError("--model needs --config.data.name and --output as well. See --help.")
        folder = pathlib.Path(_OUTPUT.value or pathlib.Path(_WORKDIR.value) / "evaluation")
        train.setup(compilation_cache=config.compilation_cache)
        if _MODEL.value:
            parts.name_classes(config)
        batches = parts.open_data(config)
        if _MODEL.value:
            _check_classes(config)
            task, variables = parts.published_task(config)
            subject = {"model": _MODEL.value, "weights": _WEIGHTS.value}
        else:
            task, step, variables = parts.trained_task(
                config, _WORKDIR.value, batches.example, _STEP.value
            )
            subject = {"step": step}
        folder.mkdir(parents=True, exist_ok=True)
    stream = batches.evaluation[split]
    measured = train.evaluator(task)(train.replicate(variables), stream())
    content = subject | {"split": split, "metrics": measured.metrics}
    train.write_whole(folder / f"{split}.json", json.dumps(content, indent=2) + "\n")
    batch = next(iter(stream()))
    count = min(config.pictures, int(batch["weight"].sum()))
    if count:
        inputs = {name: array[:count] for name, array in batch.items()}
        predictions = jax.device_get(jax.jit(task.predict)(variables, inputs))
        for name, picture in task.draw(inputs, predictions, measured.sums).items():
            draw.save(folder / f"{split}_{name}", picture)
    told = ", ".join(f"{name} {value}" for name, value in subject.items())
    print(f"{told}, {split}:\n{parts.show(measured.metrics)}\nwritten to {folder}")


def _check_classes(config):
    """A network without a run: its classes must be the data's."""
    told, given = config.model.num_classes, len(config.data.class_names)
    if told != given:
        raise ValueError(
            f"{config.model.name} tells {told} classes apart, {config.data.name} has {given}."
            f" Name the {told} with --config.data.class_names."
        )


if __name__ == "__main__":
    cli.run(main, __doc__, required=())
