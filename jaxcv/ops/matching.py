"""Which ground truth each anchor learns, and which anchors a step looks at."""

import jax
import jax.numpy as jnp

from jaxcv.ops import boxes as box_ops
from jaxcv.ops import sliding
from jaxcv.ops.program import one_program


@one_program("high_threshold", "low_threshold", "allow_low_quality")
def match(
    quality, *, high_threshold, low_threshold, allow_low_quality=False, valid=None, ignore=None
):
    """The ground truth of each anchor, by largest overlap: [M, N] -> matches [N] int32.

    Args:
        quality: [M, N] float, overlap of M ground truths with N anchors: `box_iou` of the two. M
            and N may be 0. A NaN matches nothing.
        high_threshold: an anchor whose best quality is at least this is matched.
        low_threshold: below it an anchor is negative; between the two it is neither.
        allow_low_quality: each ground truth's own best anchors are matched in any case, all that
            are equally good, and each of these to the ground truth that it overlaps most.
        valid: [M] bool or None: which ground truths are real. The others match nothing.
        ignore: [N] bool or None: anchors that are not to count as negative, as those in a crowd:
            `((box_iou(anchors, boxes, crowd=crowd) >= t) & crowd[None]).any(axis=1)`, the crowd
            itself not being valid.

    Returns:
        [N] int32: the index of the ground truth, -1 for a negative anchor, -2 for one that is
        neither. Equal qualities: the first ground truth.

    Raises:
        ValueError: quality is not [M, N] float, or a mask has another shape or dtype.

    Source: Ren et al., "Faster R-CNN", 2015, section 3.1.2; torchvision's Matcher, thresholds
        compared in float32 as there. A ground truth that overlaps nothing matches nothing, even
        where low quality is allowed (there: every anchor that does not overlap it).
    """
    quality, best, matches = _threshold(quality, valid, ignore, high_threshold, low_threshold)
    if not allow_low_quality:
        return matches
    highest = quality.max(axis=1, keepdims=True, initial=0)  # [M, 1]
    forced = ((quality == highest) & (highest > 0)).any(axis=0)
    return jnp.where(forced, best, matches)


@one_program("threshold")
def ssd_match(quality, *, threshold, valid=None, ignore=None):
    """As `match`, but each ground truth also keeps its own best anchor: [M, N] -> [N] int32.

    Of equally good anchors a ground truth keeps the first; of ground truths that keep the same
    anchor the last gets it. One that overlaps nothing keeps none (torchvision: anchor 0).

    Args:
        quality, valid, ignore: as of `match`.
        threshold: an anchor whose best quality is at least this is matched.

    Source: Liu et al., "SSD", 2016, section 2.2; torchvision's SSDMatcher.
    """
    quality, _, matches = _threshold(quality, valid, ignore, threshold, threshold)
    count, anchors = quality.shape
    if 0 in quality.shape:
        return matches
    kept = quality.argmax(axis=1)[:, None] == jnp.arange(anchors)[None]  # [M, N]
    kept &= quality.max(axis=1, keepdims=True) > 0
    owner = jnp.where(kept, jnp.arange(count)[:, None], -1).max(axis=0)
    return jnp.where(owner >= 0, owner, matches).astype(jnp.int32)


@one_program("size", "positive_fraction")
def sample_balanced(key, labels, *, size, positive_fraction):
    """A random choice of positive and negative examples: [N] -> indices [size] int32, valid [size].

    At most int(size * positive_fraction) positives, then negatives until there are `size` or no
    more; each kind is drawn uniformly and without replacement.

    Args:
        labels: [N] int: above 0 positive, 0 negative, below 0 never taken.
        size: how many to take.
        positive_fraction: of the positives, at most, in 0..1.

    Returns:
        indices, positives first, and valid [size] bool; where not valid the index is 0.

    Raises:
        ValueError: labels are not [N] int, or an option is out of range.

    Source: torchvision's BalancedPositiveNegativeSampler.
    """
    labels = jnp.asarray(labels)
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be [N] int, got {list(labels.shape)} {labels.dtype}.")
    if size < 1 or not 0 <= positive_fraction <= 1:
        raise ValueError(
            "size must be at least 1 and positive_fraction within 0..1, got"
            f" {size} and {positive_fraction}."
        )
    # As many as are asked for, at least: the added are never taken.
    labels = jnp.pad(labels, (0, max(size - len(labels), 0)), constant_values=-1)
    order = jax.random.uniform(key, labels.shape)

    def draw(candidates, most):
        _, indices = jax.lax.top_k(jnp.where(candidates, order, -1), most)
        return indices, jnp.minimum(candidates.sum(), most)

    positive, positives = draw(labels > 0, int(size * positive_fraction))
    negative, negatives = draw(labels == 0, size)
    slot = jnp.arange(size)
    # Negatives begin where the positives end; what the roll carries over the end lies under those.
    positive = jnp.pad(positive, (0, size - len(positive)))
    indices = jnp.where(slot < positives, positive, jnp.roll(negative, positives))
    valid = slot < positives + negatives
    return jnp.where(valid, indices, 0).astype(jnp.int32), valid


def _threshold(quality, valid, ignore, high, low):
    """Quality where ground truths are valid; the best ground truth of each anchor; matches."""
    quality = jnp.asarray(quality)
    if quality.ndim != 2:
        raise ValueError(
            f"quality must be [ground truths, anchors], got {list(quality.shape)}."
            " For a batch, jax.vmap the function."
        )
    sliding.check_floating(quality=quality)
    if low > high:
        raise ValueError(f"low_threshold must not be above high_threshold, got {low} and {high}.")
    quality = quality.astype(jnp.promote_types(quality.dtype, jnp.float32))
    count, anchors = quality.shape
    usable = ~jnp.isnan(quality)
    if valid is not None:
        usable &= box_ops.checked_flags(count, valid=valid)[:, None]
    quality = jnp.where(usable, quality, -jnp.inf)
    negative = jnp.full(anchors, -1, jnp.int32)
    if ignore is not None:
        negative = jnp.where(box_ops.checked_flags(anchors, ignore=ignore), -2, negative)
    if count == 0:
        return quality, negative, negative
    best, highest = quality.argmax(axis=0).astype(jnp.int32), quality.max(axis=0)
    matches = jnp.where(highest >= low, -2, negative)
    return quality, best, jnp.where(highest >= high, best, matches)
