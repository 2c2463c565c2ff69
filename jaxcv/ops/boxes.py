"""Boxes: areas, overlaps, conversions. A box is x1, y1, x2, y2 in pixels, continuous (no +1).

Results have the boxes' dtype; what is narrower than float32 is computed in float32.

Every overlap has a form for all pairs, [N, 4] and [M, 4] -> [N, M], and a `paired_` form, box by
box, [N, 4] and [N, 4] -> [N], for losses (1 - overlap). Overlaps are symmetric, and of proper boxes
at most 1, which equal boxes have. Where the reference divides by 0, that quotient is 0 here, and
gradients are finite: for boxes without area too. A NaN in a box makes its overlaps NaN.
"""

import difflib
import functools

import jax
import jax.numpy as jnp

from jaxcv.ops import fusion, sliding
from jaxcv.ops.program import one_program


@one_program()
def box_area(boxes):
    """Area of each box: [N, 4] pixels -> [N] pixels squared, negative where exactly one side is."""
    (boxes,), dtype = checked(boxes=boxes)
    return sides_and_area(boxes)[4].astype(dtype)


@one_program("in_fmt", "out_fmt")
def box_convert(boxes, *, in_fmt, out_fmt):
    """Boxes in another format: [N, 4] -> [N, 4].

    Args:
        boxes: [N, 4] float, laid out as `in_fmt` says.
        in_fmt, out_fmt: "xyxy" (two corners), "xywh" (corner and size) or "cxcywh" (centre and
            size).

    Raises:
        ValueError: boxes that are not [N, 4] float, or an unknown format.
    """
    (boxes,), dtype = checked(boxes=boxes)
    for name, value in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if value not in _TO_CORNERS:
            near = difflib.get_close_matches(str(value), _TO_CORNERS) or list(_TO_CORNERS)
            raise ValueError(f"{name} must be one of {list(_TO_CORNERS)}, got {value!r}: {near}?")
    corners = _TO_CORNERS[in_fmt](boxes[:, :2], boxes[:, 2:])
    return jnp.concatenate(_FROM_CORNERS[out_fmt](*corners), axis=1).astype(dtype)


@one_program()
def clip_boxes(boxes, *, size):
    """Boxes with their corners moved into the image: [N, 4] -> [N, 4].

    Args:
        boxes: [N, 4] float.
        size: height and width of the image; may be traced.
    """
    (boxes,), dtype = checked(boxes=boxes)
    height, width = size
    limits = jnp.asarray([width, height, width, height], boxes.dtype)
    return jnp.clip(boxes, 0, limits[None]).astype(dtype)


@one_program()
def remove_small_boxes(boxes, *, min_size):
    """Which boxes are at least `min_size` wide and high: [N, 4] -> valid [N] bool.

    torchvision returns their indices; here shapes are static and the others stay, not valid.
    """
    (boxes,), _ = checked(boxes=boxes)
    return (boxes[:, 2:] - boxes[:, :2] >= min_size).all(axis=1)


@one_program()
def box_iou(boxes1, boxes2, *, crowd=None):
    """Intersection over union of every pair of boxes.

    Args:
        boxes1: [N, 4] float. N may be 0.
        boxes2: [M, 4] float, in the same unit.
        crowd: [M] bool or None: which of boxes2 stand for many objects. Over such a one the
            intersection is divided by the area of the box in boxes1 alone, as COCO does.

    Returns:
        [N, M] in the boxes' dtype, within [0, 1] for proper boxes. A pair without area has IoU 0
        (torchvision: nan).

    Raises:
        ValueError: an argument is not [N, 4], dtypes differ, or crowd is not [M] bool.

    Source: equal to torchvision.ops.box_iou to float32 rounding.
    Cost: O(N M) time and memory.
    """
    if crowd is None:
        return _pairwise(_iou, boxes1, boxes2)
    crowd = checked_flags(len(boxes2), crowd=crowd)[None]
    return _pairwise(functools.partial(_iou, crowd=crowd), boxes1, boxes2)


@one_program()
def generalized_box_iou(boxes1, boxes2):
    """IoU less the share of the hull that neither box covers: [N, 4] and [M, 4] -> [N, M].

    The hull is the smallest box around both. Within [-1, 1] for proper boxes.

    Source: Rezatofighi et al., "Generalized intersection over union", 2019;
        torchvision.ops.generalized_box_iou.
    """
    return _pairwise(_generalized_iou, boxes1, boxes2)


@one_program()
def distance_box_iou(boxes1, boxes2):
    """IoU less (distance of the centres / diagonal of the hull)^2: [N, 4] and [M, 4] -> [N, M].

    Source: Zheng et al., "Distance-IoU loss", 2020, equation 7; torchvision.ops.distance_box_iou.
    """
    return _pairwise(_distance_iou, boxes1, boxes2)


@one_program()
def complete_box_iou(boxes1, boxes2):
    """Distance IoU less a penalty for different aspect ratios: [N, 4] and [M, 4] -> [N, M].

    The penalty is alpha v, v = (2 / pi)^2 (difference of atan(width / height))^2 and alpha =
    v / (1 - IoU + v). No gradient goes through alpha. A point, which has no aspect ratio, counts
    as a square (torchvision: nan).

    Source: Zheng et al., "Distance-IoU loss", 2020, equations 8 to 11;
        torchvision.ops.complete_box_iou and complete_box_iou_loss.
    """
    return _pairwise(_complete_iou, boxes1, boxes2)


@one_program()
def paired_box_iou(boxes1, boxes2):
    """`box_iou` of boxes1[i] and boxes2[i]: [N, 4] and [N, 4] -> [N]."""
    return _paired(_iou, boxes1, boxes2)


@one_program()
def paired_generalized_box_iou(boxes1, boxes2):
    """`generalized_box_iou` of boxes1[i] and boxes2[i]: [N, 4] and [N, 4] -> [N]."""
    return _paired(_generalized_iou, boxes1, boxes2)


@one_program()
def paired_distance_box_iou(boxes1, boxes2):
    """`distance_box_iou` of boxes1[i] and boxes2[i]: [N, 4] and [N, 4] -> [N]."""
    return _paired(_distance_iou, boxes1, boxes2)


@one_program()
def paired_complete_box_iou(boxes1, boxes2):
    """`complete_box_iou` of boxes1[i] and boxes2[i]: [N, 4] and [N, 4] -> [N]."""
    return _paired(_complete_iou, boxes1, boxes2)


def checked(columns=("x1", "y1", "x2", "y2"), /, **arrays):
    """Arrays of boxes as float32 at least, and the dtype they came in, for all files of ops.

    Raises:
        ValueError: one is not [N, 4] (or what `columns` says), or they differ in dtype.
    """
    arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[1] != len(columns):
            raise ValueError(
                f"{name} must be [N, {len(columns)}] ({', '.join(columns)}), got"
                f" {list(array.shape)}. For a batch, jax.vmap the function."
            )
    sliding.check_floating(**arrays)
    (dtype,) = {array.dtype for array in arrays.values()}
    wide = jnp.promote_types(dtype, jnp.float32)
    return [array.astype(wide) for array in arrays.values()], dtype


def checked_flags(count, **flags):
    """One flag for each of `count` things, for all files of ops: [count] bool.

    Raises:
        ValueError: the flags are not [count] bool.
    """
    ((name, array),) = flags.items()
    array = jnp.asarray(array)
    if array.shape != (count,) or array.dtype != bool:
        raise ValueError(f"{name} must be [{count}] bool, got {list(array.shape)} {array.dtype}.")
    return array


@jax.custom_jvp
def quotient(dividend, divisor):
    """dividend / divisor, and 0 where the divisor is 0. Its gradient squares no divisor.

    That of a / b does: for boxes with sides below 1e-10 it would be inf.
    """
    return jnp.where(divisor == 0, 0, dividend / jnp.where(divisor == 0, 1, divisor))


@quotient.defjvp
def _quotient_jvp(primals, tangents):
    dividend, divisor = primals
    ratio = quotient(dividend, divisor)
    return ratio, quotient(tangents[0] - ratio * tangents[1], divisor)


_TO_CORNERS = {
    "xyxy": lambda low, high: (low, high),
    "xywh": lambda low, size: (low, low + size),
    "cxcywh": lambda centre, size: (centre - size / 2, centre + size / 2),
}
_FROM_CORNERS = {
    "xyxy": lambda low, high: (low, high),
    "xywh": lambda low, high: (low, high - low),
    "cxcywh": lambda low, high: ((low + high) / 2, high - low),
}
_EPSILON = 1e-7  # the reference's, in the divisors of distance and complete IoU


def _pairwise(measure, boxes1, boxes2):
    (boxes1, boxes2), dtype = checked(boxes1=boxes1, boxes2=boxes2)
    # Apart, for strided reads in the loop over pairs take as long as all the rest.
    sides1, sides2 = (fusion.apart(sides_and_area, boxes) for boxes in (boxes1, boxes2))
    return measure(sides1[:, :, None], sides2[:, None]).astype(dtype)


def _paired(measure, boxes1, boxes2):
    (boxes1, boxes2), dtype = checked(boxes1=boxes1, boxes2=boxes2)
    if len(boxes1) != len(boxes2):
        raise ValueError(
            f"boxes1 and boxes2 must be as many, got {len(boxes1)} and {len(boxes2)}."
            " For all pairs use the function without paired_."
        )
    return measure(sides_and_area(boxes1), sides_and_area(boxes2)).astype(dtype)


def sides_and_area(boxes):
    """x1, y1, x2, y2 and the area, each in a row for loops over boxes: [N, 4] -> [5, N]."""
    x1, y1, x2, y2 = jnp.unstack(boxes, axis=1)
    return jnp.stack([x1, y1, x2, y2, (x2 - x1) * (y2 - y1)])


# Below, a box is what `sides_and_area` gives, of a shape that broadcasts with the other's.


def _intersection_and_union(box1, box2):
    width = jnp.minimum(box1[2], box2[2]) - jnp.maximum(box1[0], box2[0])
    height = jnp.minimum(box1[3], box2[3]) - jnp.maximum(box1[1], box2[1])
    intersection = jnp.maximum(width, 0) * jnp.maximum(height, 0)
    return intersection, box1[4] + box2[4] - intersection


def _hull(box1, box2):
    """Width and height of the smallest box around both."""
    width = jnp.maximum(box1[2], box2[2]) - jnp.minimum(box1[0], box2[0])
    height = jnp.maximum(box1[3], box2[3]) - jnp.minimum(box1[1], box2[1])
    return jnp.maximum(width, 0), jnp.maximum(height, 0)


def _iou(box1, box2, crowd=None):
    intersection, union = _intersection_and_union(box1, box2)
    if crowd is not None:
        union = jnp.where(crowd, box1[4], union)
    return quotient(intersection, union)


def _generalized_iou(box1, box2):
    intersection, union = _intersection_and_union(box1, box2)
    width, height = _hull(box1, box2)
    hull = width * height
    return quotient(intersection, union) - quotient(hull - union, hull)


def _distance_iou(box1, box2):
    width, height = _hull(box1, box2)
    x = (box1[0] + box1[2]) / 2 - (box2[0] + box2[2]) / 2
    y = (box1[1] + box1[3]) / 2 - (box2[1] + box2[3]) / 2
    return _iou(box1, box2) - (x * x + y * y) / (width * width + height * height + _EPSILON)


def _complete_iou(box1, box2):
    v = jnp.square(2 / jnp.pi * (_aspect_angle(box1) - _aspect_angle(box2)))
    alpha = jax.lax.stop_gradient(quotient(v, 1 - _iou(box1, box2) + v + _EPSILON))
    return _distance_iou(box1, box2) - alpha * v


def _aspect_angle(box):
    """atan(width / height), and that of a square for a point."""
    width, height = box[2] - box[0], box[3] - box[1]
    point = width * width + height * height < jnp.finfo(width.dtype).tiny
    width, height = jnp.where(point, 1, width), jnp.where(point, 1, height)
    # atan2 takes a height of 0, and is atan of the ratio for heights that are not negative.
    sign = jnp.where(height < 0, -1, 1)
    return jnp.arctan2(sign * width, sign * height)
