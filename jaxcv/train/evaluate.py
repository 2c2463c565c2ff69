"""Evaluation: every example once, sums added in float64: batches and devices do not show."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxcv.train import state as states
from jaxcv.train.batches import placed
from jaxcv.train.step import evaluation_step


@dataclasses.dataclass(frozen=True)
class Measured:
    """What evaluating a split gave: {name: float}, the sums and records these came from."""

    metrics: dict
    sums: Any
    records: Any


def evaluator(task):
    """The function (variables, batches) -> Measured; it compiles once.

    Variables are as `states.replicate` gives them; batches is an iterable of this host's batches,
    dicts of NumPy arrays with `id` and `weight`, the same number on every host.
    """
    step = evaluation_step(task)

    def evaluate(variables, batches):
        sums, parts = None, []
        for batch in placed(batches, micro_batches=1):
            batch_sums, records = step(variables, jax.tree.map(lambda leaf: leaf[:, 0], batch))
            batch_sums = jax.tree.map(
                lambda leaf: np.asarray(leaf, np.float64), states.to_host(batch_sums)
            )
            sums = batch_sums if sums is None else jax.tree.map(np.add, sums, batch_sums)
            parts.append(states.to_host(records))
        if sums is None:
            raise ValueError("There is no batch to evaluate.")
        records = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        real = records["weight"] > 0
        records = jax.tree.map(lambda leaf: leaf[real], records)
        return Measured(
            {name: float(value) for name, value in task.summarise(sums, records).items()},
            sums,
            records,
        )

    return evaluate
