"""Deformable convolution: a convolution whose taps are moved by offsets that a network gives."""

import math

import jax
import jax.numpy as jnp

from jaxcv.ops import sliding, taps
from jaxcv.ops.program import one_program


@one_program("strides", "padding", "dilation")
def deform_conv2d(image, offset, kernel, mask=None, *, strides=1, padding=0, dilation=1):
    """Convolution with displaced taps: [H, W, C], [H', W', 2 G h w], [h, w, C / groups, D]
    -> [H', W', D].

    Tap (i, j) of the output's pixel (y, x) reads the image, bilinearly, at
    (strides y - top + dilation i + dy, strides x - left + dilation j + dx). The image fades to 0
    within one pixel of its border.

    Args:
        image: [H, W, C] float.
        offset: [H', W', 2 G h w] float: the pairs (dy, dx) of all taps in row order, and of each of
            G runs of the image's channels that are moved together, G outermost.
        kernel: [h, w, C / groups, D], of the image's dtype. Its third axis says how many runs of
            channels are convolved by themselves.
        mask: [H', W', G h w] float, a factor for every tap; None is 1.
        strides, padding, dilation: as of `ops.conv`.

    Returns:
        [H', W', D] in the image's dtype; sampled in float32 at least. Without bias, as `ops.conv`.
        Reverse mode alone (no jvp).

    Raises:
        ValueError: shapes, dtypes or options that do not fit each other.

    Source: torchvision.ops.deform_conv2d with its gradients; its offsets, mask and weights with the
        channels last. Dai et al. 2017, "Deformable convolutional networks"; mask: Zhu et al. 2019,
        "Deformable ConvNets v2".
    Cost: the samples are kept for the gradient: [H' W', h w C].
    """
    image, offset, kernel = (jnp.asarray(array) for array in (image, offset, kernel))
    mask = None if mask is None else jnp.asarray(mask)
    strides, padding, dilation, result = _geometry(image, kernel, strides, padding, dilation)
    offset_groups, groups = _groups(image, offset, kernel, mask, result)
    (height, width, channels), (h, w, _, features) = image.shape, kernel.shape
    wide = jnp.promote_types(image.dtype, jnp.float32)

    moves = offset.astype(wide).reshape(*result, offset_groups, h * w, 2)
    places = []
    for axis, (count, size) in enumerate(zip(result, (h, w))):
        starts = strides[axis] * jnp.arange(count) - padding[axis][0]
        steps = dilation[axis] * jnp.arange(size)
        starts = starts.reshape(-1, 1, 1, 1) if axis == 0 else starts.reshape(1, -1, 1, 1)
        steps = jnp.repeat(steps, w) if axis == 0 else jnp.tile(steps, h)
        places.append((moves[..., axis] + starts + steps.reshape(1, 1, 1, -1)).reshape(-1))
    indices, weights = taps.cross(
        taps.axis_taps(places[0], height), taps.axis_taps(places[1], width), width
    )
    if mask is not None:
        weights = weights * mask.astype(wide).reshape(-1, 1)
    # A row is one run of one pixel's channels.
    run = jnp.arange(offset_groups)[None, :, None, None]
    indices = indices.reshape(-1, offset_groups, h * w, 4) * offset_groups + run
    rows = image.reshape(-1, channels // offset_groups)
    sampled = taps.weighted_rows(rows, indices.reshape(-1, 4), weights).astype(image.dtype)
    # Else XLA may sample anew for every entry of the product.
    sampled = jax.lax.optimization_barrier(sampled)

    # [pixels, runs, taps, C / runs] -> [pixels, taps, groups, C / groups]
    sampled = sampled.reshape(-1, offset_groups, h * w, channels // offset_groups)
    sampled = sampled.swapaxes(1, 2).reshape(-1, h * w, groups, channels // groups)
    kernel = kernel.reshape(h * w, channels // groups, groups, features // groups)
    # One product a group: as a batch of products the usual single one takes a CPU twice as long.
    products = [
        sampled[:, :, group].reshape(math.prod(result), -1)
        @ kernel[:, :, group].reshape(-1, features // groups)
        for group in range(groups)
    ]
    return jnp.concatenate(products, axis=-1).reshape(*result, features)


def _geometry(image, kernel, strides, padding, dilation):
    """Options for each axis, and the result's height and width."""
    for name, array, axes in (("image", image, "H, W, C"), ("kernel", kernel, "h, w, in, out")):
        if array.ndim != axes.count(",") + 1:
            raise ValueError(
                f"{name} must be [{axes}], got {list(array.shape)}. For a batch, jax.vmap the"
                " function."
            )
    sliding.check_floating(image=image, kernel=kernel)
    strides = sliding.at_least(sliding.per_axis(strides, 2, "strides"), 1, "strides")
    dilation = sliding.at_least(sliding.per_axis(dilation, 2, "dilation"), 1, "dilation")
    extents = tuple(d * (size - 1) + 1 for size, d in zip(kernel.shape, dilation))
    padding = sliding.padding_pairs(padding, extents=extents, strides=strides)
    result = sliding.window_counts(
        image.shape[:2], extents=extents, strides=strides, padding=padding
    )
    return strides, padding, dilation, result


def _groups(image, offset, kernel, mask, result):
    """Runs of channels that are moved together, and that are convolved by themselves."""
    h, w, in_channels, features = kernel.shape
    channels = image.shape[-1]
    if (
        min(channels, in_channels) < 1
        or channels % in_channels
        or features % (channels // in_channels)
    ):
        raise ValueError(
            f"kernel {list(kernel.shape)} does not fit the image's {channels} channels: its third"
            " axis must divide them, and the number of such runs the fourth."
        )
    runs = offset.shape[-1] // (2 * h * w)
    if offset.shape != (*result, 2 * h * w * runs) or runs < 1 or channels % runs:
        raise ValueError(
            f"offset must be [{result[0]}, {result[1]}, {2 * h * w} G], G dividing the image's"
            f" {channels} channels, got {list(offset.shape)}."
        )
    if mask is not None and mask.shape != (*result, h * w * runs):
        raise ValueError(
            f"mask must be {[*result, h * w * runs]}, half of the offsets, got {list(mask.shape)}."
        )
    return runs, channels // in_channels
