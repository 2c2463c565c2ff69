"""Instance masks: overlaps, and the boxes around them."""

import jax.numpy as jnp

from jaxcv.ops import boxes as box_ops
from jaxcv.ops.program import one_program


@one_program()
def mask_iou(masks1, masks2, *, crowd=None):
    """Intersection over union of every pair of masks.

    Args:
        masks1: [N, H, W] bool or integer, inside where not 0.
        masks2: [M, H, W], likewise.
        crowd: [M] bool or None: which of masks2 stand for many objects. Over such a one the
            intersection is divided by the area of the mask in masks1 alone, as COCO does.

    Returns:
        [N, M] float. A pair without area has IoU 0.

    Raises:
        ValueError: masks are not [N, H, W] bool or integer of one H and W, or crowd not [M] bool.

    Source: pycocotools.mask.iou. Exact up to 2^24 pixels a mask.
    Cost: one product of [N, H W] and [H W, M], in float.
    """
    masks1, masks2 = _inside(masks1=masks1), _inside(masks2=masks2)
    if masks1.shape[1:] != masks2.shape[1:]:
        raise ValueError(
            f"masks1 and masks2 must have one height and width, got {list(masks1.shape[1:])} and"
            f" {list(masks2.shape[1:])}."
        )
    # Ones and zeros are exact in every format that an accelerator's products use.
    masks1, masks2 = masks1.astype(float), masks2.astype(float)
    intersection = jnp.tensordot(masks1, masks2, axes=((1, 2), (1, 2)))
    area1, area2 = masks1.sum(axis=(1, 2))[:, None], masks2.sum(axis=(1, 2))[None]
    union = area1 + area2 - intersection
    if crowd is not None:
        union = jnp.where(box_ops.checked_flags(len(masks2), crowd=crowd)[None], area1, union)
    return box_ops.quotient(intersection, union)


@one_program()
def masks_to_boxes(masks):
    """First and last column and row of each mask: [N, H, W] -> boxes [N, 4] float.

    x2 and y2 are the last pixel's own index, as torchvision's: the continuous box that covers the
    pixels reaches 1 further. An empty mask gives zeros.

    Raises:
        ValueError: masks that are not [N, H, W] bool or integer.

    Source: torchvision.ops.masks_to_boxes.
    """
    masks = _inside(masks=masks)
    (x1, x2), (y1, y2) = _first_and_last(masks.any(axis=1)), _first_and_last(masks.any(axis=2))
    boxes = jnp.stack([x1, y1, x2, y2], axis=1)
    return jnp.where(masks.any(axis=(1, 2))[:, None], boxes, 0).astype(float)


def _first_and_last(flags):
    """Index of the first and of the last True in each row: [N, K] -> [N], [N]."""
    return flags.argmax(axis=1), flags.shape[1] - 1 - flags[:, ::-1].argmax(axis=1)


def _inside(**array):
    ((name, masks),) = array.items()
    masks = jnp.asarray(masks)
    if masks.ndim != 3:
        raise ValueError(
            f"{name} must be [N, H, W], got {list(masks.shape)}."
            " For a batch, jax.vmap the function."
        )
    if masks.dtype != bool and not jnp.issubdtype(masks.dtype, jnp.integer):
        raise ValueError(
            f"{name} must be bool or integer, got {masks.dtype}. Compare first: masks > 0.5."
        )
    return masks != 0
