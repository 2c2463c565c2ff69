"""Steps that several scripts take: from a config to batches and a task, from a run to its model."""

import pathlib

from experiments.config import from_plain, override
from jaxcv import data, draw, tasks, train, weights


def open_data(config):
    """The run's Data; what the config left to the data set (classes, size, channels) is filled in.

    So the config as run says all that `predict` must know where the data set is not at hand.
    """
    batches = data.create(config)
    height, width, channels = batches.example["image"].shape[1:]
    with config.unlocked():
        names = batches.sources[config.data.train_split].class_names
        config.data.class_names = tuple(config.data.class_names or names)
        config.data.channels = channels
        if height == width:
            config.data.image_size = height
    return batches


def published_variables(config):
    """Variables of `config.init_from` where that is published weights; None for a run's folder."""
    source = config.init_from
    if source.partition(":")[0] != "published" and not pathlib.Path(source).is_file():
        return None
    # Without num_classes: as many as the file has, for the patterns to choose from.
    attributes = {k: v for k, v in config.model.items() if k not in ("name", "num_classes")}
    return weights.load(config.model.name, source, **attributes)


def open_run(workdir, overrides):
    """The config of the run in a folder, with fields replaced; its seed and model are its own."""
    config = from_plain(train.read_config(workdir))
    override(config, overrides)
    return config


def trained_task(config, workdir, example, step):
    """(task, step, variables) of a run's checkpoint; step None is the newest."""
    task = tasks.create(config)
    step, variables = train.run_variables(workdir, train.shapes(task, example), step=step)
    return task, step, variables


def draw_curves(workdir):
    """Pictures of the metrics of a run over its steps, one for each name, below its pictures/."""
    rows = train.read_rows(pathlib.Path(workdir) / "metrics.jsonl")
    for name in ("loss", "top1"):
        if any(name in row for row in rows):
            path = pathlib.Path(workdir) / "pictures" / f"curve_{name}.png"
            draw.save(path, draw.curves(rows, [name]))


def show(metrics):
    """{name: float} as lines for people."""
    width = max(map(len, metrics), default=0)
    return "\n".join(f"{name:<{width}}  {value:.6g}" for name, value in sorted(metrics.items()))
