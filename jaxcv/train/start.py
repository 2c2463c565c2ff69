"""What a run starts from: new variables, or those of another run."""

import difflib
import os
import pathlib
import re

import jax
import numpy as np

from jaxcv.train import checkpoints, folder, optimizers, schedules
from jaxcv.train import state as states


def check(task, config, workdir, example):
    """Raises ValueError if `loop` would refuse to start; compiles and writes nothing.

    Returns the variables' shapes: {"params": ..., other collections} of jax.ShapeDtypeStruct.
    """
    for field, least in (
        ("steps", 1),
        ("checkpoint_keep", 1),
        ("log_every", 0),
        ("eval_every", 0),
        ("checkpoint_every", 0),
        ("pictures", 0),
        ("profile_steps", 1),
    ):
        if config[field] < least:
            raise ValueError(f"{field} must be at least {least}, got {config[field]}.")
    if config.steps >= 2**31:
        raise ValueError(f"steps must be below 2**31, got {config.steps}.")
    if not 0 <= config.ema < 1:
        raise ValueError(f"ema must be at least 0 and below 1, got {config.ema}.")
    variables = shapes(task, example)
    _check_losses(config, task, variables, example)
    _check_best(config, task, variables, example)
    rate, momentum = schedules.create(config.schedule, steps=config.steps)
    for player in task.losses:
        owned = states.owned(variables["params"], player, task.losses)
        optimizers.create(config.optimizer, rate, owned, momentum=momentum)
    if jax.process_index() == 0:  # which holds the folder's lock, maybe already
        folder.check(workdir, config)
    return variables


def shapes(task, example):
    """The task's variables as jax.ShapeDtypeStruct; nothing is compiled.

    Args:
        task: a Task.
        example: a batch of one.
    """
    return jax.eval_shape(task.init, jax.eval_shape(jax.random.key, 0), example)


def initial_variables(
    task, example, *, seed, init_from="", there=None, include=(), exclude=(), say=print
):
    """Variables before the first step: {"params": ..., other collections}.

    Args:
        task: a Task.
        example: a batch of one.
        seed: int, of the new initialisation.
        init_from: a run's folder whose newest checkpoint gives variables; "" for none.
        there: the variables of `init_from` where that is no run's folder.
        include: patterns (whole "/"-joined paths, the collection left out: "conv1/.*") of the
            variables that come from there; empty: all.
        exclude: patterns of those that stay new.
        say: function of a message for people.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: a pattern that matches nothing, a variable that is not there or has another
            shape.
    """
    wanted = states.named(shapes(task, example))
    taken = {}
    init_from = os.path.expanduser(init_from)
    if init_from:
        taken = _taken(wanted, init_from, there, include, exclude)
        new = len(wanted) - len(taken)
        say(f"{len(taken)} of {len(wanted)} variables from {init_from}, {new} new.")
    # As one program: op by op each operation would be compiled by itself.
    fresh = jax.jit(task.init)(jax.random.key(seed), example)
    return states.from_named(fresh, states.named(fresh) | taken, origin=init_from)


def run_variables(workdir, shapes, *, step=None):
    """(step, variables) that a run's checkpoint evaluates: its moving average if it kept one.

    Args:
        workdir: the run's folder.
        shapes: what is expected, as `shapes` gives it.
        step: of the checkpoint; None: the newest.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it is damaged, or of another model.
    """
    step, arrays = _evaluated(workdir, step)
    return step, states.from_named(
        shapes, arrays, origin=f"The checkpoint of step {step} in {workdir}"
    )


def _check_losses(config, task, variables, example):
    """Traces the losses on the share of a device: what does not fit is found before the step."""
    count = config.batch_size // (jax.device_count() * config.accumulate)
    share = jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape[1:]), a.dtype), example)
    for loss in task.losses.values():
        jax.eval_shape(loss, variables, share, jax.eval_shape(jax.random.key, 0))


def _check_best(config, task, variables, example):
    name, mode = config.best if len(config.best) == 2 else ("", "")
    split, _, metric = name.partition("/")
    if mode not in ("max", "min") or (name and split not in config.data.eval_splits):
        raise ValueError(
            f'best must be ("split/name", "max" or "min") with one of the splits'
            f" {', '.join(config.data.eval_splits)}, got {config.best!r}."
        )
    known = _metric_names(task, variables, example) if name else [metric]
    if metric not in known:
        near = difflib.get_close_matches(metric, known) or sorted(known)
        raise ValueError(
            f"best names the metric {metric!r}, which the task does not measure. Nearest:"
            f" {', '.join(near)}."
        )


def _metric_names(task, variables, example):
    """What the task calls the metrics of a split, from one without examples."""
    sums, records = jax.eval_shape(task.measure, variables, example)
    sums = jax.tree.map(lambda leaf: np.zeros(leaf.shape), sums)
    records = records | {"id": example["id"], "weight": example["weight"]}
    records = jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), records)
    return list(task.summarise(sums, records))


def _evaluated(workdir, step=None):
    step, arrays, _ = checkpoints.read(pathlib.Path(workdir) / "checkpoints", step)
    kind = "ema/" if any(name.startswith("ema/") for name in arrays) else "variables/"
    return step, {n.removeprefix(kind): a for n, a in arrays.items() if n.startswith(kind)}


def _taken(wanted, init_from, there, include, exclude):
    """{name: array} of the wanted variables that the patterns take from what is there."""
    paths = {name: name.partition("/")[2] for name in wanted}  # without the collection
    for pattern in (*include, *exclude):
        try:
            matches = any(re.fullmatch(pattern, path) for path in paths.values())
        except re.error as error:
            raise ValueError(
                f"init_include and init_exclude: {pattern!r} is no regular expression: {error}."
            ) from error
        if not matches:
            raise ValueError(
                f"init_include and init_exclude: {pattern!r} matches none of the model's variables:"
                f" {', '.join(list(paths.values())[:5])}, ..."
            )
    there = _evaluated(init_from)[1] if there is None else states.named(there)
    taken, problems = {}, []
    for name, path in paths.items():
        if include and not any(re.fullmatch(pattern, path) for pattern in include):
            continue
        if any(re.fullmatch(pattern, path) for pattern in exclude):
            continue
        if name not in there:
            problems.append(f"{path} is not there")
        elif there[name].shape != wanted[name].shape:
            shapes = f"{list(there[name].shape)} there, {list(wanted[name].shape)} here"
            problems.append(f"{path} is {shapes}")
        else:
            taken[name] = there[name]
    if problems:
        raise ValueError(
            f"init_from={init_from} does not fit the model: {'; '.join(problems[:5])}"
            f"{'; ...' * (len(problems) > 5)}. Leave these new with init_exclude."
        )
    return taken
