"""Normalisation without parameters, of arrays with channels last and any axes before."""

import jax
import jax.numpy as jnp

from jaxcv.ops.program import one_program


@one_program("epsilon")
def normalize(vectors, *, epsilon=1e-12):
    """Vectors over their Euclidean length, or epsilon where that is larger: [..., C] -> [..., C].

    Source: torch.nn.functional.normalize over the channels. Computed in float32 at least.
    """
    wide = _wide(vectors)
    squares = jnp.square(wide).sum(-1, keepdims=True)
    # The maximum is inside the root, whose gradient at 0 is infinite.
    return (wide / jnp.sqrt(jnp.maximum(squares, epsilon**2))).astype(vectors.dtype)


@one_program("size", "alpha", "beta", "k")
def local_response_norm(image, *, size, alpha=1e-4, beta=0.75, k=1.0):
    """Each channel over a power of its neighbours' squares: [..., C] -> [..., C].

    x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta, zeros beyond the
    ends; an even size reaches size // 2 channels back and one less ahead.

    Raises:
        ValueError: a size below 1.

    Source: torch.nn.functional.local_response_norm, and Caffe's. Krizhevsky, Sutskever, Hinton,
        "ImageNet classification with deep convolutional neural networks", 2012, section 3.3, does
        not divide alpha by the size: for the paper's alpha = a, pass alpha = a * size (its size is
        5, a 1e-4, beta 0.75, k 2). Computed in float32 at least.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}.")
    wide = _wide(image)
    leading = wide.ndim - 1
    squares = jax.lax.reduce_window(
        jnp.square(wide),
        0.0,
        jax.lax.add,
        window_dimensions=(1,) * leading + (size,),
        window_strides=(1,) * wide.ndim,
        padding=((0, 0),) * leading + ((size // 2, (size - 1) // 2),),
    )
    return (wide * (k + alpha / size * squares) ** -beta).astype(image.dtype)


def _wide(array):
    return jnp.asarray(array, jnp.promote_types(array.dtype, jnp.float32))
