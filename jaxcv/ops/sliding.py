"""Sliding windows, for convolution and pooling: options per axis, padding, how many windows fit."""

import numbers
from collections.abc import Sequence

import jax.numpy as jnp


def per_axis(value, rank, name):
    """One integer for every axis: an int stands for all, a sequence is taken as it is.

    Raises:
        ValueError: neither an int nor `rank` ints; `name` is the argument to blame.
    """
    values = _repeat(value, rank)
    if len(values) != rank or not all(isinstance(v, numbers.Integral) for v in values):
        raise ValueError(f"{name} must be an int or {rank} ints, one an axis, got {value!r}.")
    return tuple(int(v) for v in values)


def at_least(values, low, name):
    """`values` as they are, if none is below `low`.

    Raises:
        ValueError: one is; `name` is the argument to blame.
    """
    if min(values) < low:
        raise ValueError(f"{name} must be at least {low}, got {values}.")
    return values


def padding_pairs(padding, *, extents, strides):
    """Padding of every axis as (low, high), low being the top or the left.

    Args:
        padding: an int for all sides; a sequence with, for each axis, an int for both sides or a
            pair (low, high); "VALID", no padding; "SAME", which at stride 1 keeps the size and
            puts an odd one out high (as torch and TensorFlow both do).
        extents: the window's size along each axis, dilation included.
        strides: one int for each axis; "SAME" needs them.

    Raises:
        ValueError: none of these, a negative number, or "SAME" with a stride other than 1.
    """
    rank = len(extents)
    if padding == "VALID":
        return ((0, 0),) * rank
    if padding == "SAME":
        if any(stride != 1 for stride in strides):
            raise ValueError(
                f'padding "SAME" needs strides of 1, got strides {strides}: frameworks disagree on'
                " its meaning beyond. Give the numbers: padding=((top, bottom), (left, right))."
            )
        return tuple(((extent - 1) // 2, extent // 2) for extent in extents)
    if isinstance(padding, str):
        raise ValueError(f'padding must be numbers, "SAME" or "VALID", got {padding!r}.')
    sides = _repeat(padding, rank)
    if len(sides) != rank:
        raise ValueError(f"padding must have {rank} entries, one an axis, got {padding!r}.")
    pairs = tuple(per_axis(side, 2, "padding of an axis") for side in sides)
    for pair in pairs:
        at_least(pair, 0, "padding")
    return pairs


def window_counts(sizes, *, extents, strides, padding, ceil_mode=False):
    """How many windows fit along each axis.

    Args:
        sizes, extents, strides: one int for each axis.
        padding: one pair (low, high) for each axis.
        ceil_mode: also count a last window that reaches beyond the padding, unless it would start
            beyond the image and its low padding (torch's rule).

    Raises:
        ValueError: not one window fits.
    """
    counts = []
    for size, extent, stride, (low, high) in zip(sizes, extents, strides, padding):
        room = size + low + high - extent
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= size + low:
            count -= 1
        if count < 1:
            raise ValueError(
                f"image is too small: {size} pixels and padding {(low, high)} hold no window of"
                f" {extent}. Use larger images, a smaller window or more padding."
            )
        counts.append(count)
    return tuple(counts)


def check_floating(**arrays):
    """Nothing, for arrays of one floating dtype.

    Raises:
        ValueError: an array is of another kind, or their dtypes differ.
    """
    dtypes = {name: array.dtype for name, array in arrays.items()}
    if len(set(dtypes.values())) > 1 or not all(
        jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes.values()
    ):
        found = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise ValueError(f"expected one floating dtype, got {found}. Convert with .astype.")


def _repeat(value, rank):
    return tuple(value) if isinstance(value, Sequence) else (value,) * rank
