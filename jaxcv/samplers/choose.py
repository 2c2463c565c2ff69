"""Answers at the door that several files give."""

import difflib
import numbers

import jax
import jax.numpy as jnp


def choose(table, name, *, argument):
    """The entry of `table` called `name`; ValueError as of `check_known`."""
    check_known(table, name, argument=argument)
    return table[name]


def check_known(names, name, *, argument):
    """Nothing, for a name that is among `names`.

    Raises:
        ValueError: it is not; the nearest of them and all of them are listed.
    """
    if name not in names:
        near = difflib.get_close_matches(str(name), names)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"{argument} is {name!r}, which is unknown.{hint} Known: {', '.join(names)}."
        )


def check_whole(low=1, **values):
    """Nothing, for whole numbers that are at least `low`.

    Raises:
        ValueError: one is not.
    """
    for name, value in values.items():
        if not isinstance(value, numbers.Integral) or value < low:
            raise ValueError(f"{name} must be a whole number, {low} or more, got {value!r}.")


def check_key(key):
    """Nothing, for one typed key.

    Raises:
        ValueError: it is something else.
    """
    if not (
        hasattr(key, "dtype")
        and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        and jnp.shape(key) == ()
    ):
        raise ValueError(f"key must be one typed key, got {key!r}: use jax.random.key.")


def check_positive(**values):
    """Nothing, for finite numbers above 0.

    Raises:
        ValueError: one is not.
    """
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}.")
