"""A run small enough to be made many times: a dense layer on four numbers, and its data."""

import types

import flax.linen as nn
import jax
import numpy as np

from configs import base
from jaxcv.train import Task, loop

MODEL = nn.Dense(3)
SIZE = 22  # of the evaluation split: no batch size of the tests divides it


def config(**fields):
    """A locked config of 8 steps of 8 examples, with fields replaced, nested ones by "__"."""
    config = base.get_config(task="toy")
    config.steps, config.batch_size = 8, 8
    config.log_every, config.eval_every, config.checkpoint_every = 2, 4, 2
    config.pictures = 2
    config.data.eval_splits = ("test",)
    for name, value in fields.items():
        *sections, leaf = name.split("__")
        section = config
        for part in sections:
            section = section[part]
        section[leaf] = value
    return config.lock()


def task(**replaced):
    """The Task: `y` [B, 3] from vectors `x` [B, 4] by least squares, with functions replaced."""

    def init(key, batch):
        return MODEL.init(key, batch["x"])

    def loss(variables, batch, key):
        del key
        errors = (MODEL.apply(variables, batch["x"]) - batch["y"]) ** 2  # [B, 3]
        weight = batch["weight"]
        return {"square": ((errors.mean(-1) * weight).sum(), weight.sum())}, ({}, {})

    def measure(variables, batch):
        errors = (MODEL.apply(variables, batch["x"]) - batch["y"]) ** 2
        weight = batch["weight"]
        sums = {"square": (errors.mean(-1) * weight).sum(), "count": weight.sum()}
        return sums, {"worst": errors.max(-1)}

    def summarise(sums, records):
        count = max(sums["count"], 1)
        return {"square": sums["square"] / count, "worst": np.max(records["worst"], initial=0)}

    def predict(variables, inputs):
        return {"y": MODEL.apply(variables, inputs["x"])}

    def draw(inputs, predictions, sums):
        del inputs, sums
        return {"y.png": np.uint8(np.clip(predictions["y"], 0, 1)[..., None] * np.full(3, 255))}

    functions = {
        "init": init,
        "losses": {"toy": loss},
        "measure": measure,
        "summarise": summarise,
        "predict": predict,
        "draw": draw,
    }
    return Task(**functions | replaced)


def batch(number, size=8):
    """Batch `number` of the training stream, a pure function of it."""
    return examples(np.arange(number * size, (number + 1) * size))


def examples(ids):
    """The examples of these ids: x [B, 4] and y [B, 3], which depends on x."""
    x = np.stack([np.random.default_rng(i).normal(size=4) for i in ids]).astype(np.float32)
    return {
        "x": x,
        "y": np.tanh(x[:, :3] - x[:, 1:]),
        "id": ids.astype(np.int32),
        "weight": np.ones(len(ids), np.float32),
    }


def split(size=SIZE, batch_size=8):
    """Batches over a split of `size` examples, the last one padded with weight 0."""
    for start in range(0, size, batch_size):
        ids = np.arange(start, start + batch_size)
        part = examples(np.minimum(ids, size - 1))
        yield part | {"weight": np.float32(ids < size)}


def batches(config, on_batch=lambda number, batch: batch):
    """What `loop` takes as data; `on_batch` sees each training batch and may put in another."""

    def train(start):
        for number in range(start, config.steps):
            yield on_batch(number, batch(number, config.batch_size))

    return types.SimpleNamespace(
        train=train,
        evaluation={"test": split},
        example=examples(np.arange(1)),
    )


def variables(task):
    return task.init(jax.random.key(0), examples(np.arange(1)))


def run(workdir, config, *, task=task(), **options):  # noqa: B008, which is a constant
    """What `train.loop` returns for the toy; options as for `batches`."""
    return loop(task, batches(config, **options), config, workdir, variables(task))
