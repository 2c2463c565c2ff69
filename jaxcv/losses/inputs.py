"""What every loss does with its inputs first."""

import jax.numpy as jnp


def wide(array):
    """The array as a jax array of float32 at least."""
    array = jnp.asarray(array)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def check_same_shape(**arrays):
    """Nothing, for arrays of one shape: broadcasting [N, 1] with [N] would pair all with all.

    Raises:
        ValueError: shapes differ.
    """
    if len({array.shape for array in arrays.values()}) > 1:
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise ValueError(f"expected one shape, got {found}. Reshape, or jnp.broadcast_to.")


def check_labels(predictions, labels, *, name):
    """Nothing, for integer labels [...] that go with predictions [..., K].

    Raises:
        ValueError: they are not integers, or of another shape; `name` is the predictions'.
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != predictions.shape[:-1]:
        raise ValueError(
            f"label must be integers of shape {list(predictions.shape[:-1])} for {name}"
            f" {list(predictions.shape)}, got {labels.dtype} {list(labels.shape)}."
        )
