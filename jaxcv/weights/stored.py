"""An array in a file, read when it is asked for: what does not fit a model is never read."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Stored:
    """Shape and dtype of an array, and the function that reads it; NumPy takes it as an array."""

    shape: tuple
    dtype: np.dtype
    read: Callable

    def __array__(self, dtype=None, copy=None):
        return np.array(self.read(), dtype)
