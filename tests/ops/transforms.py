"""Holding an op to be the same under every transformation that its callers use."""

import jax
import numpy as np


def assert_same_under_transforms(function, *arrays):
    """`function(*arrays)` is the same eagerly, jitted (compiled once) and mapped over 2 x 2 items.

    The items are two devices of two each: `pmap` of `vmap`. All of it runs with rank promotion an
    error. Arrays are those of one item; the other three items are slightly different (floats) or
    rolled (integers, flags).
    """
    with jax.numpy_rank_promotion("raise"):
        want = function(*arrays)
        jitted = jax.jit(function)
        _assert_equal(jitted(*arrays), want)
        items = [[_changed(array, i) for array in arrays] for i in range(4)]
        for item in items:
            jitted(*item)
        assert jitted._cache_size() == 1
        stacked = [np.stack(column).reshape(2, 2, *column[0].shape) for column in zip(*items)]
        got = jax.pmap(jax.vmap(function), devices=jax.devices()[:2])(*stacked)
        for i, item in enumerate(items):
            one = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i // 2, i % 2], got)
            _assert_equal(one, jitted(*item))


def _changed(array, i):
    array = np.asarray(array)
    if np.issubdtype(array.dtype, np.floating):
        return array * np.asarray(1 + i / 16, array.dtype)
    return np.roll(array, i)


def _assert_equal(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)
