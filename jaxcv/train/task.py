"""What the loop knows of a task: a handful of pure functions."""

import dataclasses
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Task:
    """A task as the loop sees it. A batch is a dict of arrays [B, ...] with `id` and `weight`.

    Attributes:
        init: (key, batch) -> variables, {"params": ..., other collections}.
        losses: player -> function (variables, batch, key) -> ({term: (sum, weight)}, (new
            collections, {name: (sum, weight)} to log)). An ordinary network has one player, which
            owns all of `params`; of several, updated in the mapping's order, each owns
            `params[player]` and sees what the earlier ones left.
        measure: (variables, batch) -> (sums, records). Sums add up over batches, devices and hosts;
            records [B, ...] are kept for every example of weight > 0, where a metric is no sum.
        summarise: (sums, records) -> {name: float}, on the host, in float64; of no examples too.
        predict: (variables, inputs) -> predictions, fixed shapes; inputs is a batch without labels.
        draw: (inputs, predictions, sums) -> {file name: uint8 [H, W, 3]}, on the host. Inputs may
            hold labels, or a list `name`, by which the pictures are then called, one for each;
            sums is {} where nothing was measured.
    """

    init: Callable
    losses: Mapping[str, Callable]
    measure: Callable
    summarise: Callable
    predict: Callable
    draw: Callable
