"""Boxes as offsets from other boxes, as R-CNN, Faster R-CNN and SSD learn them."""

import math

import jax.numpy as jnp

from jaxcv.ops import boxes as box_ops
from jaxcv.ops import sliding
from jaxcv.ops.program import one_program


@one_program("weights")
def encode_boxes(boxes, anchors, *, weights=(1.0, 1.0, 1.0, 1.0)):
    """What to predict at each anchor so that it becomes the box: [N, 4] and [N, 4] -> [N, 4].

    Shift of the centre over the anchor's size, and logarithm of the ratio of the sizes: dx, dy, dw,
    dh, each times its weight.

    Args:
        boxes: [N, 4] float, the targets.
        anchors: [N, 4] float, where to start from: anchors, proposals or default boxes.
        weights: of dx, dy, dw, dh. Fast R-CNN's box head and SSD: (10, 10, 5, 5), one over SSD's
            "variances"; region proposals: ones.

    Returns:
        [N, 4] in the boxes' dtype, computed in float32 at least. Zeros where a side of the box or
        of its anchor is not positive: padding stays finite, and so do gradients.

    Raises:
        ValueError: boxes and anchors are not both [N, 4] of one floating dtype.

    Source: Girshick et al., "Rich feature hierarchies", 2014, appendix C; torchvision's BoxCoder.
    """
    (boxes, anchors), dtype = box_ops.checked(boxes=boxes, anchors=anchors)
    if len(boxes) != len(anchors):
        raise ValueError(
            f"boxes and anchors must be as many, got {len(boxes)} and {len(anchors)}: choose a box"
            " for each anchor first, boxes[matches]."
        )
    (centres, sizes), (anchor_centres, anchor_sizes) = _centres(boxes), _centres(anchors)
    proper = ((sizes > 0) & (anchor_sizes > 0)).all(axis=1, keepdims=True)
    # Inside the logarithm too: through the outer `where` alone its gradient would be nan.
    sizes, anchor_sizes = jnp.where(proper, sizes, 1), jnp.where(proper, anchor_sizes, 1)
    shifts = (centres - anchor_centres) / anchor_sizes
    codes = jnp.concatenate([shifts, jnp.log(sizes / anchor_sizes)], axis=1)
    codes = codes * jnp.asarray(weights, codes.dtype)[None]
    return jnp.where(proper, codes, 0).astype(dtype)


@one_program("weights", "max_scale")
def decode_boxes(codes, anchors, *, weights=(1.0, 1.0, 1.0, 1.0), max_scale=1000 / 16):
    """The boxes that codes stand for; undoes `encode_boxes`.

    Args:
        codes: [N, 4] float, or [N, K, 4] with one code for each of K classes.
        anchors: [N, 4] float.
        weights: as of `encode_boxes`.
        max_scale: a box is at most this many times as wide or high as its anchor (dw and dh have
            no gradient beyond), so that an early guess does not overflow. None: no limit.

    Returns:
        Boxes of the codes' shape and dtype, computed in float32 at least.

    Raises:
        ValueError: codes are not [N, 4] or [N, K, 4], or not of the anchors' floating dtype.

    Source: torchvision's BoxCoder.
    """
    codes = jnp.asarray(codes)
    (wide_anchors,), dtype = box_ops.checked(anchors=anchors)
    sliding.check_floating(codes=codes, anchors=jnp.asarray(anchors))
    if codes.ndim not in (2, 3) or codes.shape[0] != len(wide_anchors) or codes.shape[-1] != 4:
        raise ValueError(
            f"codes must be [N, 4] or [N, K, 4] for N = {len(wide_anchors)} anchors, got"
            f" {list(codes.shape)}. For a batch, jax.vmap the function."
        )
    between = (1,) * (codes.ndim - 2)  # the classes' axis, where there is one
    centres, sizes = (array.reshape(len(array), *between, 2) for array in _centres(wide_anchors))
    weights = jnp.asarray(weights, wide_anchors.dtype).reshape(1, *between, 4)
    codes = codes.astype(wide_anchors.dtype) / weights
    centres = centres + codes[..., :2] * sizes
    log_ratio = codes[..., 2:]
    if max_scale is not None:
        log_ratio = jnp.minimum(log_ratio, math.log(max_scale))
    half = jnp.exp(log_ratio) * sizes / 2
    return jnp.concatenate([centres - half, centres + half], axis=-1).astype(dtype)


def _centres(boxes):
    """Centres and sizes: [N, 4] -> [N, 2], [N, 2]."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
