"""From a config to batches."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping

import numpy as np

from jaxcv.data import cache, digit_scenes, digits, folder, pipeline, selection, tfds


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads. A batch is a dict of NumPy arrays: the source's (images uint8), "id" int32
    [b], the index in the source, and "weight" float32 [b], 0 for padding.

    Attributes:
        train: start -> iterator of this host's batches for the steps start .. config.steps - 1.
        evaluation: {split: () -> iterator of this host's batches, every example of the split once
            over all hosts, the last batch filled up with weight 0}.
        sources: {split: Source}.
        example: a batch of one example, for its shapes and dtypes.
    """

    train: Callable
    evaluation: Mapping
    sources: Mapping
    example: dict


def create(config):
    """The Data of a run, from its config's seed, steps, batch_size, accumulate, augment and data.

    Raises:
        ValueError: a field is out of range, or the data set cannot be opened; the message says
            what to do.
    """
    import jax

    from jaxcv.data import augment

    check_batch_size(
        config.batch_size,
        devices=jax.device_count(),
        accumulate=config.accumulate,
        pairs=augment.mixes(config.augment),
    )
    if not 0 <= config.seed < 2**32:  # jax's keys have no room for more
        raise ValueError(f"seed must be at least 0 and below 2**32, got {config.seed}.")
    fields = config.data
    if fields.workers < 0:
        raise ValueError(f"data.workers must be 0 (threads) or more, got {fields.workers}.")
    if fields.prefetch < 1:
        raise ValueError(f"data.prefetch must be at least 1, got {fields.prefetch}.")
    splits = dict.fromkeys((fields.train_split, *fields.eval_splits))
    sources = {split: open_split(fields, split) for split in splits}
    source = sources[fields.train_split]
    if fields.labels_per_class < 0:
        raise ValueError(
            f"data.labels_per_class must be 0 (all) or more, got {fields.labels_per_class}."
        )
    if fields.labels_per_class:
        source = selection.few_of_each(source, fields.labels_per_class, seed=config.seed)
    share = {
        "batch_size": config.batch_size,
        "hosts": jax.process_count(),
        "host": jax.process_index(),
    }
    ahead = {"workers": fields.workers, "prefetch": fields.prefetch}

    def train(start):
        rows = functools.partial(
            pipeline.training_rows,
            size=source.size,
            seed=config.seed,
            accumulate=config.accumulate,
            **share,
        )
        return pipeline.iterate(source, rows, range(start, config.steps), **ahead)

    def evaluate(split):
        size = sources[split].size
        rows = functools.partial(pipeline.evaluation_rows, size=size, **share)
        return pipeline.iterate(sources[split], rows, range(-(-size // config.batch_size)), **ahead)

    return Data(
        train=train,
        evaluation={split: functools.partial(evaluate, split) for split in fields.eval_splits},
        sources=sources,
        example=pipeline.read(source, np.zeros(1, int), np.ones(1, np.float32)),
    )


def open_split(fields, split):
    """One split of the data set that `fields` (config.data) names, of its classes: -> Source.

    Raises:
        ValueError: as `create`.
    """
    if fields.channels not in (0, 1, 3):
        raise ValueError(f"data.channels must be 0 (the set's own), 1 or 3, got {fields.channels}.")
    if fields.image_size < 0:
        raise ValueError(
            f"data.image_size must be 0 (the set's own) or more, got {fields.image_size}."
        )
    source = _whole(fields, split)
    if fields.classes:
        source = selection.of_classes(source, fields.classes)
    if fields.class_names:
        source = selection.named(source, fields.class_names, renaming=not fields.classes)
    return source


def _whole(fields, split):
    form = {"image_size": fields.image_size, "channels": fields.channels}
    match fields.name:
        case "digits":
            return digits.source(split, **form)
        case "digit_scenes":
            return digit_scenes.source(fields.scenes, split, **form)
        case "folder":
            opened = folder.source(fields.dir, split, **form)
        case name:
            directory = os.path.expanduser(fields.dir)
            where = {"directory": directory, "download": fields.download}
            opened = tfds.source(name, split, **where, **form)
    return cache.cached(opened, folder=fields.cache_dir, limit=fields.cache_limit)


def check_batch_size(batch_size, *, devices, accumulate, pairs=False):
    """Raises ValueError unless every device gets the same number of examples, at least one.

    With `pairs` that number must be even: mixup and CutMix mix the two examples of a pair.
    """
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1 (micro-batches a step), got {accumulate}.")
    parts = devices * accumulate * (2 if pairs else 1)
    of_pairs = " x 2 (the pairs of mixup and cutmix)" if pairs else ""
    if batch_size < 1 or batch_size % parts:
        nearest = max(round(batch_size / parts), 1) * parts
        raise ValueError(
            f"batch_size must be a positive multiple of devices x accumulate = {devices} x"
            f" {accumulate}{of_pairs} = {parts}, got {batch_size}. The nearest is {nearest}."
        )
