"""Classifier-free guidance."""

import jax
import jax.numpy as jnp


def guided(model, condition, unconditional, *, scale):
    """A model of (x, t, condition) as a function (x, t) -> prediction, pushed to the condition.

    The prediction is unconditional + scale (conditional - unconditional): 1 is the conditional
    one, more goes beyond. Both come from one call on a batch of 2 B in which the two of an example
    are neighbours, so that a batch spread over devices stays where it is.

    Args:
        model: (x [2 B, ...], t [2 B], condition) -> [2 B, ..., channels of x, or more]. What lies
            beyond the channels of x (a learned variance) is taken from the conditional prediction.
        condition, unconditional: arrays [B, ...], or equal trees of such.
        scale: a number, or [B].

    Raises:
        ValueError: trees or shapes that differ, or do not fit the batch.

    Source: Ho and Salimans, "Classifier-free diffusion guidance", 2022, with scale = 1 + w.
    """
    structures = [jax.tree.structure(tree) for tree in (condition, unconditional)]
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(t)] for t in (condition, unconditional)]
    if structures[0] != structures[1] or shapes[0] != shapes[1]:
        raise ValueError(
            "condition and unconditional must have one structure and one shape, got"
            f" {shapes[0]} and {shapes[1]}."
        )
    if () in shapes[0]:
        raise ValueError(f"condition must be arrays [B, ...], got shapes {shapes[0]}.")
    both = jax.tree.map(_neighbours, unconditional, condition)

    def predict(x, t):
        if any(shape[0] != len(x) for shape in shapes[0]):
            raise ValueError(
                f"condition must be [{len(x)}, ...], one for each of x, got shapes {shapes[0]}."
            )
        prediction = model(_neighbours(x, x), _neighbours(t, t), both)
        without, with_it = jnp.unstack(prediction.reshape(len(x), 2, *prediction.shape[1:]), axis=1)
        channels = x.shape[-1]
        rest = with_it[..., channels:]
        without, with_it = without[..., :channels], with_it[..., :channels]
        weight = jnp.reshape(jnp.asarray(scale, with_it.dtype), (-1, *[1] * (x.ndim - 1)))
        return jnp.concatenate([without + weight * (with_it - without), rest], axis=-1)

    return predict


def _neighbours(first, second):
    """[B, ...] twice -> [2 B, ...], alternating."""
    return jnp.stack([first, second], axis=1).reshape(2 * len(first), *jnp.shape(first)[1:])
