"""What a data set looks like to the rest of jaxcv: one split, read by index."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set: random access by index.

    Attributes:
        name: the data set's name.
        split: the split's name, as the data set has it ("train", "test", "train[:90%]").
        size: number of examples.
        read: indices int [n] -> {"image": uint8 [n, H, W, C], "label": int32 [n], ...}; it crosses
            into worker processes, so it must survive cloudpickle.
        class_names: name of each label, in the order of the labels.
        in_memory: whether reading costs a copy only, so that no worker processes are needed.
        example_name: index -> the example's own name (a file's path, a TFDS id), for people.
        files: () -> paths of the files it reads; a cache of the split holds until they change.
    """

    name: str
    split: str
    size: int
    read: Callable
    class_names: tuple[str, ...]
    in_memory: bool
    example_name: Callable
    files: Callable = tuple


def reader(arrays):
    """A `Source.read` over arrays in memory, {name: [N, ...]}."""
    return functools.partial(_take, arrays)


def _take(arrays, indices):
    return {name: np.take(array, indices, axis=0) for name, array in arrays.items()}
