"""Attention of queries to keys."""

import jax
import jax.numpy as jnp


def dot_product_attention(query, key, value, *, bias=None, scale=None):
    """Each query's mean of the values, weighted by its similarity to the keys.

    Args:
        query: [..., Q, heads, D].
        key: [..., K, heads, D].
        value: [..., K, heads, E].
        bias: added to the similarities before the softmax: [..., heads, Q, K], or what broadcasts
            to it. -inf, or a large negative number, keeps a query from a key.
        scale: factor of the similarities, an array [heads, 1, 1] or a number; D^-1/2 if None.

    Returns:
        [..., Q, heads, E] in the query's dtype, and the weights [..., heads, Q, K], float32 at
        least, which add up to 1 over the keys.

    Source: Vaswani et al., "Attention is all you need", 2017, equation 1.
    Cost: O(Q K) time and memory for each head.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = jnp.einsum("...qhd,...khd->...hqk", query, key)
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32)) * scale
    weights = jax.nn.softmax(scores if bias is None else scores + bias)
    attended = jnp.einsum("...hqk,...khe->...qhe", weights.astype(value.dtype), value)
    return attended, weights
