"""Steps that several scripts take: from a config to batches and a task, from a run to its model."""

import os
import pathlib

from configs import base
from experiments.config import from_plain, override
from jaxcv import data, draw, tasks, train, weights
from jaxcv.data import imagenet


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


def prepare(config, workdir):
    """(task, batches, variables) for `train.loop` in a folder; raises what is found wrong.

    What the config left to the data set is filled in, as of `open_data`.
    """
    batches = open_data(config)
    task = tasks.create(config)
    train.check(task, config, workdir, batches.example)
    variables = train.initial_variables(
        task,
        batches.example,
        seed=config.seed,
        init_from=config.init_from,
        there=published_variables(config),
        include=config.init_include,
        exclude=config.init_exclude,
    )
    return task, batches, variables


def published_variables(config):
    """Variables of `config.init_from` where that is published weights; None for a run's folder."""
    source = os.path.expanduser(config.init_from)
    if source.partition(":")[0] != "published" and not pathlib.Path(source).is_file():
        return None
    # Without num_classes: as many as the file has, for the patterns to choose from.
    return _load(config, leave=("num_classes",))


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


def run_or_published(workdir, model, file, overrides):
    """The config of a run's folder, or of a network and its file: what of these is given.

    Raises:
        ValueError: neither of them is given, or both; or as `open_run` and `published_config`.
    """
    match (bool(workdir), bool(model), bool(file)):
        case (True, False, False):
            return open_run(workdir, overrides)
        case (False, True, True):
            return published_config(model, file, overrides)
    raise ValueError("Give either --workdir, or --model and --weights. See --help.")


def published_config(name, file, overrides):
    """The config of a published network, which has no run: for `published_task`.

    Its images are made as its publisher makes them, those for a file as for `published_row`. Where
    nothing is published, or `overrides` say another model.image_size, they have the model's size,
    uncut. `overrides` say what a network wants otherwise; of a data.image_size it sees all.
    """
    config = base.get_config(task="classification").lock()
    override(config, overrides | {"model.name": name, "init_from": file})
    row = published_row(config)
    sized = row and "model.image_size" not in overrides
    if sized and row.image_size:
        override(config, {"model.image_size": row.image_size})
    (height, _, channels), num_classes = weights.interface(name, **_attributes(config))
    own = {
        "model.num_classes": num_classes,
        "data.image_size": height,
        "data.channels": channels,
    }
    if channels == 3:
        own |= {"data.mean": imagenet.MEAN, "data.std": imagenet.STD}
    if row:
        own |= {"data.mean": row.mean, "data.std": row.std}
    if sized:
        own["data.image_size"] = row.resize
        if "data.image_size" not in overrides:
            own["data.eval_crop"] = row.crop
    override(config, {name: value for name, value in own.items() if name not in overrides})
    return config


def published_row(config):
    """The weights.Published of `config.init_from`: of a file the first of its model's name.

    None where nothing is published under that name.
    """
    word, colon, version = config.init_from.partition(":")
    if word == "published":
        return weights.published(f"{config.model.name}{colon}{version}")
    known = config.model.name in weights.available()
    return weights.published(config.model.name) if known else None


def published_task(config):
    """(task, variables) of a `published_config`."""
    variables = _load(config)
    return tasks.create(config), variables


def name_classes(config):
    """Gives a network that tells 1,000 classes apart ImageNet's names, where it has none."""
    if not config.data.class_names and config.model.num_classes == len(imagenet.class_names()):
        with config.unlocked():
            config.data.class_names = imagenet.class_names()


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


def _load(config, leave=()):
    """Variables of the weights `config.init_from`, for images in RGB as ours are.

    What was published for BGR is turned, also in a file of the publisher's name.
    """
    attributes = _attributes(config, leave)
    source = os.path.expanduser(config.init_from)
    variables = weights.load(config.model.name, source, **attributes)
    row = published_row(config)
    file = pathlib.Path(source).name
    if row and row.bgr and (source.startswith("published") or file == row.file):
        first = variables["params"][row.bgr]
        first["kernel"] = first["kernel"][:, :, ::-1]
    return variables


def _attributes(config, leave=()):
    """What the config says of the model beside its name: {attribute: value}."""
    attributes = {k: v for k, v in config.model.items() if k not in ("name", *leave)}
    if attributes.get("num_classes", 0) is None:  # not given
        del attributes["num_classes"]
    return attributes
