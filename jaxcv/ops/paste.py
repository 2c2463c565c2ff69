"""Mask R-CNN's masks, put back into the image."""

import functools

import jax
import jax.numpy as jnp

from jaxcv.ops import fusion, sliding
from jaxcv.ops.program import one_program

_TILE = (64, 128)  # rows and columns of the image that are computed together


@one_program("image_size", "padding")
def paste_masks(masks, boxes, image_size, *, padding=1):
    """Masks of boxes resized into an empty image: [N, M, M] and [N, 4] -> [N, H, W].

    A box is grown with its mask's padding, its corners are cut to whole pixels towards zero, and
    the mask is resized bilinearly to them, both ends included.

    Args:
        masks: [N, M, M] float, probabilities. bfloat16 is computed in float32.
        boxes: [N, 4] float, x1, y1, x2, y2 in the image's pixels. N may be 0. A box that is not
            finite gives an empty image.
        image_size: (H, W).
        padding: zeros put around each mask, against its edge being repeated outwards.

    Returns:
        [N, H, W] in the masks' dtype, 0 outside the boxes. Differentiable by the masks alone, in
        reverse mode alone (no jvp).

    Raises:
        ValueError: shapes, dtypes or options out of range.

    Source: He et al. 2017, "Mask R-CNN"; torchvision's paste_masks_in_image, to float32 rounding.
    Cost: on a CPU only the parts of the image that boxes touch are computed, the rest is filled.
    """
    masks, boxes = jnp.asarray(masks), jnp.asarray(boxes)
    _check(masks, boxes)
    height, width = sliding.at_least(sliding.per_axis(image_size, 2, "image_size"), 1, "image_size")
    sliding.at_least((padding,), 0, "padding")
    padded = jnp.pad(masks, ((0, 0), (padding, padding), (padding, padding)))
    padded = padded.astype(jnp.promote_types(masks.dtype, jnp.float32))
    corners = _corners(boxes.astype(padded.dtype), padded.shape[1] / masks.shape[1])
    return _paste(padded, corners, (height, width)).astype(masks.dtype)


def _check(masks, boxes):
    if masks.ndim != 3 or masks.shape[1] != masks.shape[2] or 0 in masks.shape[1:]:
        raise ValueError(
            f"masks must be [N, M, M], one square for each box, got {list(masks.shape)}."
            " For a batch, jax.vmap the function."
        )
    if boxes.shape != (len(masks), 4):
        raise ValueError(
            f"boxes must be [N, 4] with the N of masks, {len(masks)}, got {list(boxes.shape)}."
        )
    sliding.check_floating(masks=masks)
    sliding.check_floating(boxes=boxes)


def _corners(boxes, growth):
    """Grown boxes as whole pixels, the last one included: [N, 4] floats, -1 to -2 if not finite."""
    boxes = jax.lax.stop_gradient(boxes)
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * growth
    corners = jnp.trunc(jnp.concatenate([centre - half, centre + half], axis=1))
    nowhere = jnp.array([[-1, -1, -2, -2]], boxes.dtype)
    return jnp.where(jnp.isfinite(corners).all(1)[:, None], corners, nowhere)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _paste(masks, corners, image_size):
    return jax.lax.platform_dependent(
        masks,
        corners,
        cpu=jax.custom_batching.sequential_vmap(
            functools.partial(_paste_tiles, image_size=image_size)
        ),
        default=functools.partial(_paste_by_products, image_size=image_size),
    )


def _forward(masks, corners, image_size):
    return _paste(masks, corners, image_size), (masks, corners)


def _backward(image_size, residuals, cotangent):
    masks, corners = residuals
    rows, columns = _weights(masks, corners, image_size)
    gradient = jnp.einsum("nhm,nhw,nwk->nmk", rows, cotangent, columns, precision="highest")
    return gradient, None


_paste.defvjp(_forward, _backward)


def _weights(masks, corners, image_size):
    """What each row and column of the image takes from the mask's: [N, H, M] and [N, W, M]."""
    return [
        jax.vmap(functools.partial(_axis_weights, jnp.arange(size), masks.shape[1]))(
            corners[:, 1 - i], corners[:, 3 - i]
        )
        for i, size in enumerate(image_size)
    ]


def _axis_weights(pixel, mask_size, first, last):
    """Bilinear weights [P, mask_size] of pixels [P] of one axis; those outside the box take 0."""
    position, inside = _position(pixel, mask_size, first, last)
    distance = jnp.abs(position[:, None] - jnp.arange(mask_size, dtype=first.dtype)[None])
    return jnp.where(inside[:, None], jnp.maximum(1 - distance, 0), 0)


def _position(pixel, mask_size, first, last):
    """Where pixels [P] of one axis lie on the mask's, [P] floats, and whether in the box."""
    position = (pixel - first + 0.5) * (mask_size / jnp.maximum(last - first + 1, 1)) - 0.5
    return jnp.clip(position, 0, mask_size - 1), (pixel >= first) & (pixel <= last)


def _paste_by_products(masks, corners, image_size):
    rows, columns = _weights(masks, corners, image_size)
    return jnp.einsum("nhm,nmk,nwk->nhw", rows, masks, columns, precision="highest")


def _paste_tiles(masks, corners, image_size):
    """Mask by mask, and of each image only the tiles that its box touches."""
    tile = [min(size, most) for size, most in zip(image_size, _TILE)]
    size = masks.shape[1]

    def one(n, images):
        x1, y1, x2, y2 = corners[n]
        (top, rows), (left, columns) = (
            _tiles(y1, y2, image_size[0], tile[0]),
            _tiles(x1, x2, image_size[1], tile[1]),
        )

        def paste_column(j, images):
            x = jnp.minimum(left + j * tile[1], image_size[1] - tile[1])
            weights = _axis_weights(x + jnp.arange(tile[1]), size, x1, x2)
            # The mask at its own rows and the image's columns: small, so a product is quick.
            wide = jnp.matmul(masks[n], weights.T, precision="highest")

            def paste(i, images):
                y = jnp.minimum(top + i * tile[0], image_size[0] - tile[0])

                def of_rows(y):
                    position, inside = _position(y + jnp.arange(tile[0]), size, y1, y2)
                    above = jnp.floor(position)
                    share = position - above
                    shares = jnp.stack(
                        [jnp.where(inside, 1 - share, 0), jnp.where(inside, share, 0)]
                    )
                    above = above.astype(jnp.int32)
                    return jnp.stack([above, jnp.minimum(above + 1, size - 1)]), shares

                lines, shares = fusion.apart(of_rows, y)  # or computed anew for each pixel
                pixels = sum(
                    share[:, None] * wide.at[line].get(mode="promise_in_bounds")
                    for line, share in zip(lines, shares)
                )
                return jax.lax.dynamic_update_slice(images, pixels[None], (n, y, x))

            return jax.lax.fori_loop(0, rows, paste, images)

        return jax.lax.fori_loop(0, columns, paste_column, images)

    images = jnp.zeros((len(masks), *image_size), masks.dtype)
    if len(masks) == 0:  # JAX refuses to trace an index into nothing
        return images
    # int32 as its tiles' places are: a slice begins at numbers of one type.
    return jax.lax.fori_loop(jnp.int32(0), len(masks), one, images)


def _tiles(first, last, size, tile):
    """Where a box's tiles begin along one axis, and how many there are."""
    first, last = (jnp.clip(end, low, size - 1) for end, low in ((first, 0), (last, -1)))
    count = jnp.maximum(jnp.ceil((last - first + 1) / tile), 0)
    return first.astype(jnp.int32), count.astype(jnp.int32)
