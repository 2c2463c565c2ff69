"""The rows of `benchmarks.ops`: each is a kernel, its work, its goal, and its peer.

To add a row:
1. Write the peer in `peer_torch.py`: a function of the inputs, as torch tensors on the device, and
   of `options`. It prepares what is not to be timed (layouts, modules, shifted indices) and returns
   a function of no arguments, which is what is timed and whose answer is compared with ours. The
   answer is a tensor or a tuple of tensors in our layout: a permuted view costs nothing.
2. Add a `Row` to the list of your part below. `inputs` makes NumPy arrays from a generator, `ours`
   takes them as jax arrays, in order, and is jitted whole; the goal is the peer's time / ours.
3. Try it: `python -m benchmarks.ops --only=NAME --peer-python=PYTHON_WITH_TORCH`.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jaxcv import ops


def largest_difference(ours, peer):
    """max|ours - peer| / max|peer|, the worst of all outputs."""
    ours = ours if isinstance(ours, tuple) else (ours,)
    return max(
        float(np.abs(np.asarray(a, np.float64) - b).max() / max(np.abs(b).max(), 1e-30))
        for a, b in zip(ours, peer, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; see the top of this file."""

    name: str  # --only selects by a part of it
    inputs: Callable  # numpy.random.Generator -> tuple of arrays
    ours: Callable  # (*inputs as jax arrays) -> array or tuple of arrays
    peer: str | None = None  # a function of peer_torch.py, None where there is nothing to compare
    options: Mapping | None = None  # keywords of the peer
    goal: float | None = None  # peer's time / ours
    goal_from_012: float | None = None  # where jax 0.12 and later have a goal of their own
    most_seconds: float | None = None  # of one call of ours
    most_temporaries: int | None = None  # bytes, by XLA's own account
    difference: Callable = largest_difference  # (ours, tuple of the peer's) -> float, 0 is equal


def _boxes(rng, count, extent, shortest, longest):
    """Random boxes [count, 4] with centres in a square and sides in a range, and scores [count]."""
    centre = rng.uniform(0, extent, (count, 2))
    half = rng.uniform(shortest, longest, (count, 2)) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes.astype(np.float32), rng.uniform(size=count).astype(np.float32)


# Suppression


def dense(count):
    return lambda rng: _boxes(rng, count, 800, 30, 300)


def sparse(count):
    return lambda rng: _boxes(rng, count, 4000, 10, 60)


def clustered(count):
    """Boxes of a detector: jittered copies of 60 objects."""

    def make(rng):
        objects, _ = _boxes(rng, 60, 800, 30, 300)
        boxes = objects[rng.integers(0, 60, count)] + rng.normal(0, 5, (count, 4))
        return boxes.astype(np.float32), rng.uniform(size=count).astype(np.float32)

    return make


def batch_of(images, make):
    """The inputs of several images, stacked."""
    return lambda rng: tuple(np.stack(a) for a in zip(*(make(rng) for _ in range(images))))


def kept_differently(ours, peer):
    """Share of the boxes kept by one side only, or in another place."""
    indices, valid = (np.asarray(a) for a in ours)
    got, want = indices[valid], np.concatenate([np.ravel(a) for a in peer])
    return float(len(got) != len(want) or (got != want).any())


def _nms_row(name, inputs, **fields):
    return Row(
        name=f"nms {name}",
        inputs=inputs,
        ours=lambda boxes, scores: ops.nms(boxes, scores, 0.5),
        peer="nms",
        options={"iou_threshold": 0.5},
        difference=kept_differently,
        **fields,
    )


SUPPRESSION = [
    _nms_row("dense 1,000", dense(1_000), goal=7),
    _nms_row("dense 4,000", dense(4_000), goal=10),
    _nms_row("dense 10,000", dense(10_000), goal=11),
    _nms_row("sparse 1,000", sparse(1_000), goal=2.5),
    _nms_row("sparse 4,000", sparse(4_000), goal=6, goal_from_012=11),
    _nms_row("sparse 10,000", sparse(10_000), goal=13, goal_from_012=25),
    _nms_row("clustered 1,000", clustered(1_000), goal=3.5),
    _nms_row("clustered 4,000", clustered(4_000), goal=4),
    _nms_row("clustered 10,000", clustered(10_000), goal=3.5),
    Row(
        name="nms 100,000 dense",
        inputs=dense(100_000),
        ours=lambda boxes, scores: ops.nms(boxes, scores, 0.5),
        most_seconds=0.25,
        most_temporaries=64 * 2**20,
    ),
    Row(
        name="nms 100,000 sparse",
        inputs=sparse(100_000),
        ours=lambda boxes, scores: ops.nms(boxes, scores, 0.5),
        most_seconds=0.25,
        most_temporaries=64 * 2**20,
    ),
    Row(
        name="nms 8 x 4,000, best 100",
        inputs=batch_of(8, dense(4_000)),
        ours=jax.vmap(lambda boxes, scores: ops.nms(boxes, scores, 0.5, max_outputs=100)),
        peer="nms_of_each",
        options={"iou_threshold": 0.5, "max_outputs": 100},
        goal=15,
        difference=kept_differently,
    ),
]

# Boxes

BOXES = [
    Row(
        name="box_iou 2,000 x 2,000",
        inputs=lambda rng: (dense(2_000)(rng)[0], dense(2_000)(rng)[0]),
        ours=ops.box_iou,
        peer="box_iou",
        goal=20,
    ),
]

# Regions

REGIONS = []

# Sampling

SAMPLING = []

ROWS = [*SUPPRESSION, *BOXES, *REGIONS, *SAMPLING]
