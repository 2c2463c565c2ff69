"""Weighted sums of rows, which is what interpolation comes down to, and where its taps lie.

A tap is a pixel that a sample reads, with its weight.
"""

import jax
import jax.numpy as jnp

_STEP = 128  # points of one step of the backward loops: what they touch stays in the cache
_FAR = 1e6  # pixels: beyond every image, and still a number that can be floored


@jax.custom_vjp
def weighted_rows(features, indices, weights):
    """Sums of weighted rows: [N, C], [P, K] and [P, K] -> [P, C], out[p] = sum w[p, k] f[i[p, k]].

    Args:
        features: [N, C] float.
        indices: [P, K] int, in 0..N-1, which is not checked.
        weights: [P, K] float, of the dtype to compute in.

    Has first derivatives only, in reverse mode; of others jax says that it cannot.
    Cost: one fused loop over the output; backward one over P with scattered additions of rows, and
    one with products of rows. On a CPU that is 20 times faster than what autodiff makes of it.
    """
    total = jnp.zeros((indices.shape[0], features.shape[1]), weights.dtype)
    for k in range(indices.shape[1]):  # unrolled: XLA fuses the gathers, one per tap, into the sum
        total = total + _rows(features, indices[:, k]) * weights[:, k, None]
    return total


def axis_taps(position, size, *, mode="bilinear", padding_mode="zeros", align_corners=False):
    """Pixels that samples read along one axis, and their weights: [P] -> [P, T] int, [P, T].

    Args:
        position: [P] float, 0 being the centre of the first pixel. Nan lies far before it.
        size: pixels along the axis.
        mode, padding_mode, align_corners: those of `ops.grid_sample`; T is 1 for "nearest", 2 for
            "bilinear" and 4 for "bicubic". A tap that reads a zero outside has weight 0.
    """
    # Reflections repeat for ever: of these only what is not finite is moved.
    far = jnp.finfo(position.dtype).max / 4 if padding_mode == "reflection" else _FAR
    position = jnp.where(jnp.isnan(position), -far, jnp.clip(position, -far, far))
    if mode == "bicubic":
        low = jnp.floor(position)
        weights = _cubic_weights(position - low)
        # The taps are padded one by one, not their centre.
        places = [low + offset for offset in (-1, 0, 1, 2)]
        places = [_into_image(place, size, padding_mode, align_corners) for place in places]
    else:
        position = _into_image(position, size, padding_mode, align_corners)
        if mode == "nearest":
            places, weights = [jnp.round(position)], [jnp.ones_like(position)]
        else:
            low = jnp.floor(position)
            places, weights = [low, low + 1], [1 - (position - low), position - low]
    places, weights = jnp.stack(places, axis=-1), jnp.stack(weights, axis=-1)
    inside = (places >= 0) & (places < size)
    indices = jnp.clip(places, 0, size - 1).astype(jnp.int32)
    return indices, jnp.where(inside, weights, 0)


def cross(rows, columns, width):
    """Taps in the plane from those along y and x: two pairs of [P, T] -> a pair of [P, T * T]."""
    indices = rows[0][:, :, None] * width + columns[0][:, None, :]
    weights = rows[1][:, :, None] * columns[1][:, None, :]
    points, taps = indices.shape[0], rows[0].shape[1] * columns[0].shape[1]
    return indices.reshape(points, taps), weights.reshape(points, taps)


def _into_image(position, size, padding_mode, align_corners):
    if padding_mode == "zeros":
        return position
    if padding_mode == "reflection":
        # About the border pixels' centres, or about their outer edges.
        low, span = (0, size - 1) if align_corners else (-0.5, size)
        if span == 0:
            return jnp.zeros_like(position)
        beyond = jnp.mod(jnp.abs(position - low), 2 * span)
        position = low + span - jnp.abs(beyond - span)
    # Not jnp.clip, whose gradient on the border itself is a half.
    return jnp.where(position <= 0, 0, jnp.where(position >= size - 1, size - 1, position))


def _cubic_weights(fraction, a=-0.75):
    """Of the pixels at -1, 0, 1 and 2. Keys 1981, "Cubic convolution interpolation"."""

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(fraction + 1), near(fraction), near(1 - fraction), far(2 - fraction)]


def _rows(features, indices):
    return features.at[indices].get(mode="promise_in_bounds")


def _forward(features, indices, weights):
    return weighted_rows(features, indices, weights), (features, indices, weights)


def _backward(residuals, cotangent):
    features, indices, weights = residuals
    by_features, by_weights = _gradients(features, indices, weights, cotangent)
    return by_features.astype(features.dtype), None, by_weights


weighted_rows.defvjp(_forward, _backward)


@jax.custom_batching.custom_vmap
def _gradients(features, indices, weights, cotangent):
    """By the features, [N, C], and by the weights, [P, K]."""
    return jax.lax.platform_dependent(
        features,
        indices,
        weights,
        cotangent,
        cpu=_gradients_in_steps,
        default=_gradients_at_once,
    )


@_gradients.def_vmap
def _gradients_of_batch(batch, batched, *arrays):
    """One long list of points: a batched scatter costs a CPU twice as much."""
    features, indices, weights, cotangent = (
        array if is_batched else jnp.broadcast_to(array, (batch, *array.shape))
        for array, is_batched in zip(arrays, batched, strict=True)
    )
    count = features.shape[1]
    indices = indices + count * jnp.arange(batch, dtype=indices.dtype)[:, None, None]
    by_features, by_weights = _gradients(
        *(jax.lax.collapse(array, 0, 2) for array in (features, indices, weights, cotangent))
    )
    return (by_features.reshape(features.shape), by_weights.reshape(weights.shape)), (True, True)


def _gradients_at_once(features, indices, weights, cotangent):
    updates = cotangent[:, None] * weights[..., None]  # [P, K, C]
    by_features = jnp.zeros(features.shape, cotangent.dtype).at[indices].add(updates)
    by_weights = [
        (_rows(features, indices[:, k]) * cotangent).sum(-1) for k in range(indices.shape[1])
    ]
    return by_features, jnp.stack(by_weights, axis=-1)


def _gradients_in_steps(features, indices, weights, cotangent):
    points = indices.shape[0]
    steps = -(-points // _STEP)

    def cut(array):
        """[P, ...] -> [steps, _STEP, ...], with points of weight 0 and cotangent 0 at the end."""
        filled = jnp.pad(array, ((0, steps * _STEP - points), (0, 0)))
        return filled.reshape(steps, _STEP, array.shape[1])

    def add(total, step):
        indices, weights, cotangent = step
        updates = cotangent[:, None] * weights[..., None]
        return total.at[indices].add(updates, mode="promise_in_bounds"), None

    def products(step):
        indices, cotangent = step
        rows = _rows(features, indices).astype(cotangent.dtype)
        return jnp.einsum("pkc,pc->pk", rows, cotangent, precision="highest")

    indices, weights, cotangent = cut(indices), cut(weights), cut(cotangent)
    # Two loops, so that the one whose gradient nobody asks for can go.
    zeros = jnp.zeros(features.shape, cotangent.dtype)
    by_features, _ = jax.lax.scan(add, zeros, (indices, weights, cotangent))
    by_weights = jax.lax.map(products, (indices, cotangent))
    return by_features, by_weights.reshape(-1, indices.shape[-1])[:points]
