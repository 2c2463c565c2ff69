"""How one geometric change moves everything that an example holds.

Coordinates are continuous, x to the right and y down: the pixel in row r and column c covers
[c, c + 1] x [r, r + 1], its centre is (c + 0.5, r + 0.5).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.data.augment import check

IGNORE = 255  # in `segments`: a pixel without a label


def pixel_centres(size):
    """Centres of all pixels: (H, W) -> [H, W, 2], x and y."""
    y, x = jnp.indices(size, dtype=jnp.float32)
    return jnp.stack([x, y], axis=-1) + 0.5


def warp(example, positions, move, *, padding_mode="constant", **options):
    """Example whose image is sampled at the given positions of the old one.

    Args:
        example: dict, as everywhere in this package.
        positions: [H', W', 2] float32, where in the old image each new pixel's centre comes from.
        move: function of points [..., 2] in the old image -> their places in the new one, the
            inverse of `positions`.
        padding_mode: as in `remap`.
        options: those of `remap`.

    Returns:
        The example on a canvas of [H', W'].
    """
    check.check_example(example)
    check.check_float_image(example["image"])
    check.check_padding_mode(padding_mode)

    def sample(array, *, fill, padding_mode, interpolate):
        places = positions
        if padding_mode == "reflect":
            places = _reflect(positions, array.shape[:2])
        take = _take_bilinear if interpolate else _take_nearest
        taken = take(array, places)
        height, width = array.shape[:2]
        inside = ((places >= 0) & (places < jnp.array([width, height]))).all(-1)
        inside = inside.reshape(inside.shape + (1,) * (array.ndim - 2))
        return jnp.where(inside, taken, jnp.asarray(fill, array.dtype))

    return remap(example, sample, move, padding_mode=padding_mode, **options)


def remap(
    example,
    sample,
    move,
    *,
    fill=0.0,
    padding_mode="constant",
    min_visible=0.0,
    keypoint_pairs=(),
    mirrored=False,
    box_points=2,
):
    """Example with its pixels sampled and its points moved: the one place that knows the entries.

    Args:
        example: dict, as everywhere in this package.
        sample: function (array [H, W, ...], *, fill, padding_mode, interpolate) -> [H', W', ...].
        move: function of points [..., 2] in the old image -> their places in the new one; nan for
            a point that has none.
        fill: what the image shows outside the old one. `segments` are 255 there, `masks` 0.
        padding_mode: "constant" shows `fill`; "reflect" mirrors image and segments about the
            centres of their border pixels (masks, boxes and keypoints have no reflections).
        min_visible: least part of a moved box that must lie on the canvas for it to stay valid.
        keypoint_pairs: ((left, right), ...), keypoints that a mirroring exchanges.
        mirrored: bool [], whether the change turns left into right.
        box_points: how many points along a side of a box are moved; corners alone are exact for
            affine maps.

    Returns:
        A new dict. A box is the hull of its moved points, clipped to the canvas (never the box of
        its mask, which an occlusion would shrink). A keypoint that leaves the canvas gets
        visibility 0; those of visibility 0 are all zero. `valid` becomes False where nothing of
        the box, or no pixel of the mask, is left; the boxes of such rows are zero.
    """
    check.check_within("min_visible", min_visible, 0, 1)
    moved = dict(example)
    moved["image"] = sample(
        example["image"], fill=fill, padding_mode=padding_mode, interpolate=True
    )
    height, width = moved["image"].shape[:2]
    canvas = jnp.array([width, height], jnp.float32)
    if "segments" in example:
        moved["segments"] = sample(
            example["segments"], fill=IGNORE, padding_mode=padding_mode, interpolate=False
        )
    if "masks" in example:
        moved["masks"] = jax.vmap(
            lambda mask: sample(mask, fill=0, padding_mode="constant", interpolate=False)
        )(example["masks"])
        if "valid" in example:
            moved["valid"] &= (moved["masks"] != 0).any((1, 2))
    if "boxes" in example:
        boxes, visible = _move_boxes(example["boxes"], move, canvas, box_points)
        moved["valid"] &= (visible > 0) & (visible >= min_visible)
        moved["boxes"] = jnp.where(moved["valid"][:, None], boxes, 0)
    if "keypoints" in example:
        keypoints = _move_keypoints(example["keypoints"], move, canvas)
        order = _swap_order(keypoint_pairs, keypoints.shape[1])
        moved["keypoints"] = jnp.where(mirrored, keypoints[:, order], keypoints)
    return moved


def _move_boxes(boxes, move, canvas, box_points):
    """[N, 4] -> moved and clipped [N, 4], and the part of each that the clipping left, [N]."""
    along = jnp.linspace(0, 1, box_points)
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    ticks = (1 - along)[:, None] * low + along[:, None] * high  # [N, P, 2], exact at both ends
    x, y = jnp.broadcast_arrays(ticks[:, None, :, 0], ticks[:, :, None, 1])
    points = move(jnp.stack([x, y], axis=-1))  # [N, P, P, 2]
    hull = jnp.concatenate([points.min((1, 2)), points.max((1, 2))], axis=-1)
    clipped = jnp.clip(hull, 0, jnp.tile(canvas, 2))
    area = _area(hull)
    return clipped, jnp.where(area > 0, _area(clipped) / jnp.where(area > 0, area, 1), 0)


def _area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _move_keypoints(keypoints, move, canvas):
    points = move(keypoints[..., :2])
    visibility = keypoints[..., 2:]
    # The right and lower border belong to the canvas: a corner of a box may be a keypoint.
    inside = ((points >= 0) & (points <= canvas)).all(-1, keepdims=True) & (visibility > 0)
    return jnp.where(inside, jnp.concatenate([points, visibility], axis=-1), 0)


def _swap_order(pairs, count):
    """Index of the keypoint that takes each place under a mirroring, [K]."""
    order = np.arange(count)
    flat = [index for pair in pairs for index in pair]
    if any(len(pair) != 2 for pair in pairs) or len(set(flat)) < len(flat):
        raise ValueError(
            "keypoint_pairs must be ((left, right), ...) with every keypoint at most once,"
            f" got {pairs}."
        )
    if not all(0 <= index < count for index in flat):
        raise ValueError(
            f"keypoint_pairs must name keypoints 0..{count - 1} (keypoints is [N, {count}, 3]),"
            f" got {pairs}."
        )
    for left, right in pairs:
        order[[left, right]] = right, left
    return order


def _reflect(positions, size):
    """Positions mirrored into the image about the centres of its border pixels."""
    last = jnp.array([size[1] - 1, size[0] - 1], jnp.float32)
    period = jnp.maximum(2 * last, 1)
    phase = jnp.mod(positions - 0.5, period)
    return jnp.minimum(jnp.minimum(phase, period - phase), last) + 0.5


def _take_nearest(array, positions):
    row, column = _indices(positions, array.shape[:2])
    return array[row, column]


def _take_bilinear(image, positions):
    """Bilinear samples, border pixels continued outwards. [H, W, C], [H', W', 2] -> [H', W', C]."""
    low = jnp.floor(positions - 0.5)
    right, below = jnp.moveaxis(positions - 0.5 - low, -1, 0)[..., None]  # weights, [H', W', 1]
    row, column = _indices(low, image.shape[:2])
    next_row, next_column = _indices(low + 1, image.shape[:2])
    above_mix = image[row, column] * (1 - right) + image[row, next_column] * right
    below_mix = image[next_row, column] * (1 - right) + image[next_row, next_column] * right
    return (above_mix * (1 - below) + below_mix * below).astype(image.dtype)


def _indices(positions, size):
    """Row and column of the pixel that holds each position, or of the nearest border pixel."""
    column, row = jnp.moveaxis(jnp.floor(positions).astype(jnp.int32), -1, 0)
    return jnp.clip(row, 0, size[0] - 1), jnp.clip(column, 0, size[1] - 1)
