"""Choosing among overlapping detections: greedy and soft suppression, and merging.

Boxes are x1, y1, x2, y2 in pixels, continuous (no +1).
"""

import functools
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops import greedy


def nms(boxes, scores, iou_threshold, *, max_outputs=None, score_threshold=None, valid=None):
    """Indices of the boxes that no better box overlaps by more than a threshold, best first.

    Greedy: the box with the highest score is kept and all that have an IoU above the threshold
    with it are dropped, then the best of those that are left, and so on.

    Args:
        boxes: [N, 4] float. A bfloat16 or float16 one is computed in float32.
        scores: [N] float. The lower index goes first among equals; nan is never kept.
        iou_threshold: from 0 to 1. A Python number is compared exactly: with 0.3 an IoU of
            float32(0.3), which lies above 0.3, suppresses. A traced one has been rounded before it
            gets here.
        max_outputs: keep so many at most (all if None): the size of the result.
        score_threshold: only scores above it take part.
        valid: [N] bool, which boxes take part (all if None).

    Returns:
        indices: [max_outputs or N] int32 by falling score, 0 where fewer boxes are kept.
        valid: [max_outputs or N] bool.

    Raises:
        ValueError: shapes or dtypes that do not fit, a number out of range.

    Source: the selection of torchvision.ops.nms (golden ops/boxes, nms_*), but for a nan score,
    which it keeps and puts first. Two boxes without area (IoU 0/0) do not suppress each other.
    Cost: O(N) memory. Time O(N min(max_outputs, N)) at worst. Not differentiable: gradients are
    those of the gather that the caller does.
    """
    return _nms(boxes, scores, None, iou_threshold, max_outputs, score_threshold, valid)


def batched_nms(
    boxes, scores, classes, iou_threshold, *, max_outputs=None, score_threshold=None, valid=None
):
    """`nms` in which only boxes of the same class suppress each other.

    Args:
        boxes: [N, 4] float.
        scores: [N] float.
        classes: [N] int, any values.
        iou_threshold, max_outputs, score_threshold, valid: as of `nms`; `max_outputs` counts the
            boxes of all classes together.

    Returns:
        indices, valid: as of `nms`, all classes in one order.

    Raises:
        ValueError: as of `nms`.

    Source: torchvision.ops.batched_nms, by its exact path, class by class. (Its other one shifts
    the boxes of a class out of the others' reach; that rounds, and fails for negative coordinates.)
    """
    return _nms(boxes, scores, classes, iou_threshold, max_outputs, score_threshold, valid)


def soft_nms(
    boxes,
    scores,
    *,
    method="linear",
    iou_threshold=0.3,
    sigma=0.5,
    score_threshold=0.001,
    max_outputs=None,
    valid=None,
):
    """Boxes best first, where each lowers the scores of those it overlaps instead of dropping them.

    Args:
        boxes: [N, 4] float. A bfloat16 or float16 one is computed in float32. One that is not
            finite never takes part.
        scores: [N] float. The lower index goes first among equals; nan never takes part.
        method: "linear": scores are multiplied by 1 - IoU where the IoU is at least
            `iou_threshold`; "gaussian": all by exp(-IoU^2 / sigma).
        iou_threshold: of "linear".
        sigma: of "gaussian", above 0.
        score_threshold: ends when the best score that is left is below it (never if None).
        max_outputs: take so many at most (all if None): the size of the result.
        valid: [N] bool, which boxes take part (all if None).

    Returns:
        indices: [max_outputs or N] int32 in the order taken, 0 where there are fewer.
        scores: [max_outputs or N] of the dtype of `scores`, as they were when taken; 0 where there
            are fewer. Differentiable in boxes and scores.
        valid: [max_outputs or N] bool.

    Raises:
        ValueError: shapes or dtypes that do not fit, an unknown method, a number out of range.

    Source: Bodla et al., "Soft-NMS: improving object detection with one line of code", ICCV 2017,
    figure 3 (golden ops/boxes, soft_nms_*).
    Cost: O(N max_outputs) time.
    """
    boxes, scores, valid = _checked(boxes, scores, valid)
    count = _checked_count(max_outputs, len(scores))
    if method not in ("linear", "gaussian"):
        raise ValueError(f"method must be 'linear' or 'gaussian', got {method!r}")
    if not isinstance(sigma, jax.Array) and not sigma > 0:
        raise ValueError(f"sigma must be above 0, got {sigma}")
    return _soft_nms(
        boxes,
        scores,
        valid,
        _least_not_below(_checked_threshold(iou_threshold), _precision(boxes)),
        sigma,
        -np.inf if score_threshold is None else score_threshold,
        method=method,
        count=count,
    )


def merge_boxes(boxes, scores, *, match_threshold=0.0, valid=None):
    """Boxes and confidences after merging, again and again, the two that match best.

    The match of two boxes is the distance of their centres less the square root of their common
    area, in pixels: low is good. The pair becomes the mean of both boxes with the sum of both
    scores, until no match is at or below the threshold. Among equal matches the lower indices go
    first.

    Args:
        boxes: [N, 4] float. A bfloat16 or float16 one is computed in float32. One that is not
            finite takes no part.
        scores: [N] float. A nan score takes its box out.
        match_threshold: pixels.
        valid: [N] bool, which boxes take part (all if None).

    Returns:
        boxes: [N, 4]; a merged box stands at the lower of its two places.
        scores: [N].
        valid: [N] bool, False where a box went into another or took no part; its box and score are
            0. Boxes and scores are differentiable.

    Raises:
        ValueError: shapes or dtypes that do not fit.

    Source: Sermanet et al., "OverFeat", ICLR 2014, section 4.3. The paper sums "the distance
    between centers of the two bounding boxes and the intersection area of the boxes" without a
    formula; this one is ours.
    Cost: O(N^3) time, O(N^2) memory: for the tens of boxes of a class.
    """
    boxes, scores, valid = _checked(boxes, scores, valid)
    return _merge_boxes(boxes, scores, valid, match_threshold)


def _nms(boxes, scores, classes, iou_threshold, max_outputs, score_threshold, valid):
    boxes, scores, valid = _checked(boxes, scores, valid)
    count = _checked_count(max_outputs, len(scores))
    if classes is not None:
        classes = jnp.asarray(classes)
        if classes.shape != scores.shape or not jnp.issubdtype(classes.dtype, jnp.integer):
            raise ValueError(
                f"classes must be [{len(scores)}] int, a class for each box,"
                f" got {list(classes.shape)} {classes.dtype}"
            )
    threshold = _most_not_above(_checked_threshold(iou_threshold), _precision(boxes))
    # A selection has no gradient: without tangents the loops below need no rule for them.
    boxes, scores = jax.lax.stop_gradient((boxes, scores))
    return _keep(boxes, scores, classes, valid, threshold, score_threshold, count=count)


@functools.partial(jax.jit, static_argnames="count")
def _keep(boxes, scores, classes, valid, threshold, score_threshold, *, count):
    n = len(scores)
    if n == 0 or count == 0:
        return jnp.zeros(count, jnp.int32), jnp.zeros(count, bool)
    scores = _computed(scores)
    taking_part = ~jnp.isnan(scores) if valid is None else valid & ~jnp.isnan(scores)
    if score_threshold is not None:
        taking_part &= scores > jnp.asarray(score_threshold, scores.dtype)
    rank = greedy.integers_in_order(scores)
    gone = jnp.iinfo(rank.dtype).min
    rank = jnp.where(taking_part, rank, gone)
    planes = greedy.planes(_computed(boxes), classes)
    if count <= min(n // 8, 1000):  # beyond that, sorting once is faster
        return greedy.most(planes, rank, threshold, count)
    order = greedy.order(~rank)  # complemented, not negated: the lowest int has no negative
    planes = jax.tree.map(lambda plane: plane[..., order], planes)
    alive = greedy.survivors(planes, rank[order] > gone, threshold)
    output = jnp.where(alive, jnp.cumsum(alive, dtype=jnp.int32) - 1, count)
    indices = jnp.zeros(count, jnp.int32).at[output].set(order, mode="drop")
    return indices, jnp.arange(count, dtype=jnp.int32) < jnp.sum(alive, dtype=jnp.int32)


@functools.partial(jax.jit, static_argnames=("method", "count"))
def _soft_nms(boxes, scores, valid, iou_threshold, sigma, score_threshold, *, method, count):
    n, dtype = len(scores), scores.dtype
    if n == 0:
        return jnp.zeros(count, jnp.int32), jnp.zeros(count, dtype), jnp.zeros(count, bool)
    boxes, scores, left = _taking_part(boxes, scores, valid)
    planes = greedy.planes(boxes)
    place = jnp.arange(n, dtype=jnp.int32)

    def take(state, _):
        scores, left = state
        candidates = jnp.where(left & (scores >= score_threshold), scores, -jnp.inf)
        i = jnp.argmax(candidates).astype(jnp.int32)
        found = candidates[i] > -jnp.inf
        output = (jnp.where(found, i, 0), jnp.where(found, scores[i], 0), found)
        iou = _iou(greedy.box_at(planes, i), planes)
        if method == "linear":
            factor = jnp.where(iou >= iou_threshold, 1 - iou, 1)
        else:
            factor = jnp.exp(-(iou**2) / sigma)
        # What has been taken keeps its score: it is read no more, and nothing overflows.
        left &= place != i
        return (jnp.where(left, scores * factor, scores), left), output

    _, (indices, taken, found) = jax.lax.scan(take, (scores, left), length=count)
    return indices, taken.astype(dtype), found


def _taking_part(boxes, scores, valid):
    """Boxes and scores in the precision of the computation, 0 where they take no part: also [N]."""
    boxes, scores = _computed(boxes), _computed(scores)
    left = jnp.isfinite(boxes).all(1) & ~jnp.isnan(scores)
    if valid is not None:
        left &= valid
    # Behind a mask nan still spoils gradients.
    return jnp.where(left[:, None], boxes, 0), jnp.where(left, scores, 0), left


def _iou(one, others):
    """IoU of one box with others [N], 0 for 0/0; gradients are finite."""
    common, union = greedy.common_and_union(one, others)
    return jnp.where(union == 0, 0, common / jnp.where(union == 0, 1, union))


@jax.jit
def _merge_boxes(boxes, scores, valid, match_threshold):
    n = len(scores)
    dtypes = boxes.dtype, scores.dtype
    boxes, scores, left = _taking_part(boxes, scores, valid)
    if n == 0:
        return boxes.astype(dtypes[0]), scores.astype(dtypes[1]), left
    before = np.tri(n, k=-1, dtype=bool).T  # [i, j]: i < j, each pair once

    def merge(_, state):
        boxes, scores, left = state
        pairs = before & left[:, None] & left[None, :]
        matches = jnp.where(pairs, _matches(jax.lax.stop_gradient(boxes)), jnp.inf)
        i, j = jnp.unravel_index(jnp.argmin(matches), (n, n))
        match = matches[i, j]
        merged = (
            boxes.at[i].set((boxes[i] + boxes[j]) / 2).at[j].set(0),
            scores.at[i].add(scores[j]).at[j].set(0),
            left.at[j].set(False),
        )
        good = (match <= match_threshold) & (match < jnp.inf)
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), merged, state)

    boxes, scores, left = jax.lax.fori_loop(0, n - 1, merge, (boxes, scores, left))
    return boxes.astype(dtypes[0]), scores.astype(dtypes[1]), left


def _matches(boxes):
    """Centre distance less the square root of the common area: [N, 4] -> [N, N]."""
    low, high = boxes[:, :2], boxes[:, 2:]
    centre = (low + high) / 2
    distance = jnp.sqrt(jnp.sum((centre[:, None] - centre[None]) ** 2, axis=-1))
    common = jnp.minimum(high[:, None], high[None]) - jnp.maximum(low[:, None], low[None])
    return distance - jnp.sqrt(jnp.prod(jnp.maximum(common, 0), axis=-1))


def _computed(array):
    """The array in the precision of the computation."""
    return array.astype(_precision(array))


def _precision(array):
    return jnp.promote_types(array.dtype, jnp.float32)


def _most_not_above(number, dtype):
    """The largest float of this dtype that is <= number: `> it` is then exactly `> number`."""
    if isinstance(number, jax.Array):
        return jnp.maximum(number.astype(dtype), 0)
    rounded = np.asarray(number, dtype)
    return rounded if float(rounded) <= number else np.nextafter(rounded, -np.inf, dtype=dtype)


def _least_not_below(number, dtype):
    """The least float of this dtype that is >= number: `>= it` is then exactly `>= number`."""
    if isinstance(number, jax.Array):
        return number.astype(dtype)
    rounded = np.asarray(number, dtype)
    return rounded if float(rounded) >= number else np.nextafter(rounded, np.inf, dtype=dtype)


def _checked_threshold(iou_threshold):
    if isinstance(iou_threshold, jax.Array):
        return iou_threshold
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be from 0 to 1, got {iou_threshold}")
    return float(iou_threshold)


def _checked_count(max_outputs, boxes):
    if max_outputs is None:
        return boxes
    if not isinstance(max_outputs, numbers.Integral) or max_outputs < 0:
        raise ValueError(
            f"max_outputs must be an int of at least 0 or None, got {max_outputs!r}:"
            " it is the size of the result, so under jit it must be static"
        )
    return int(max_outputs)


def _checked(boxes, scores, valid):
    boxes, scores = jnp.asarray(boxes), jnp.asarray(scores)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not jnp.issubdtype(boxes.dtype, jnp.floating):
        raise ValueError(
            f"boxes must be [N, 4] float (x1, y1, x2, y2), got {list(boxes.shape)} {boxes.dtype}."
            " For a batch, jax.vmap the function."
        )
    if scores.shape != boxes.shape[:1] or not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(
            f"scores must be [{len(boxes)}] float, a score for each box,"
            f" got {list(scores.shape)} {scores.dtype}"
        )
    if valid is not None:
        valid = jnp.asarray(valid)
        if valid.shape != scores.shape or valid.dtype != bool:
            raise ValueError(
                f"valid must be [{len(boxes)}] bool, got {list(valid.shape)} {valid.dtype}"
            )
    return boxes, scores, valid
