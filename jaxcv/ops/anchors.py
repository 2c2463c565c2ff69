"""Boxes to start from: anchors of Faster R-CNN, default boxes of SSD, priors of YOLO.

They depend on sizes alone, which are static. Order: level by level, in a level row by row, in a row
cell by cell, then the boxes of a cell. Sizes of images and grids are (height, width), those of
priors (width, height), as their papers print them.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops import boxes as box_ops
from jaxcv.ops import sliding
from jaxcv.ops.program import one_program


def cell_anchors(*, sizes, aspect_ratios):
    """Faster R-CNN's anchors around the origin, every ratio (slowest) with every size: [A, 4].

    Args:
        sizes: roots of the areas, in pixels.
        aspect_ratios: height / width.

    Returns:
        [len(aspect_ratios) * len(sizes), 4] float, corners rounded to whole pixels, halves to even.

    Source: torchvision's AnchorGenerator.
    """
    roots = np.sqrt(np.asarray(aspect_ratios, float))[:, None]
    sizes = np.asarray(sizes, float)[None]
    sides = np.stack([sizes / roots, sizes * roots], axis=-1).reshape(-1, 2)
    return _centred(sides).round()


@one_program("grid_size", "stride")
def grid_anchors(cell, *, grid_size, stride):
    """The boxes of one cell moved to every cell of a grid: [A, 4] -> [H W A, 4].

    Args:
        cell: [A, 4] float, boxes around the cell's place.
        grid_size: height and width H, W of the feature map.
        stride: pixels from one cell to the next, an int or (down, right). Cell (0, 0) is at the
            image's corner, as in torchvision: not half a stride inside.

    Raises:
        ValueError: a cell that is not [A, 4] float.
    """
    (cell,), dtype = box_ops.checked(cell=cell)
    grid_size = sliding.per_axis(grid_size, 2, "grid_size")
    y, x = (
        np.arange(count) * step
        for count, step in zip(grid_size, sliding.per_axis(stride, 2, "stride"))
    )
    return _at_every(cell, x, y).astype(dtype)


def pyramid_anchors(*, image_size, grid_sizes, sizes, aspect_ratios):
    """Faster R-CNN's anchors of every level of a pyramid: a list of [H_l W_l A_l, 4].

    Args:
        image_size: height and width of the image, padding included.
        grid_sizes: (H_l, W_l) of each level; its stride is image_size // grid_size.
        sizes, aspect_ratios: of each level, as of `cell_anchors`.

    Raises:
        ValueError: not as many sizes or aspect_ratios as grid_sizes.

    Source: torchvision's AnchorGenerator; Lin et al., "Feature pyramid networks", 2017, section
        4.1 (FPN: one size a level, 32 to 512, with ratios 1/2, 1, 2).
    """
    _check_levels(len(grid_sizes), sizes=sizes, aspect_ratios=aspect_ratios)
    return [
        grid_anchors(
            cell_anchors(sizes=sizes[level], aspect_ratios=aspect_ratios[level]),
            grid_size=grid_size,
            stride=tuple(pixels // cells for pixels, cells in zip(image_size, grid_size)),
        )
        for level, grid_size in enumerate(grid_sizes)
    ]


def default_scales(*, levels, min_ratio=0.15, max_ratio=0.9):
    """SSD's scales, evenly from min_ratio to max_ratio, and 1 behind: a list of levels + 1 floats.

    Source: Liu et al., "SSD", 2016, equation 4 (there from 0.2); torchvision's DefaultBoxGenerator.
    """
    if levels == 1:
        return [min_ratio, max_ratio]
    return [*np.linspace(min_ratio, max_ratio, levels).tolist(), 1.0]


@one_program("image_size", "grid_sizes", "scales", "aspect_ratios", "steps", "clip")
def default_boxes(*, image_size, grid_sizes, scales, aspect_ratios, steps=None, clip=True):
    """SSD's default boxes of every level, joined: [sum of H_l W_l A_l, 4] in pixels.

    A cell of level l has squares of side scales[l] and sqrt(scales[l] scales[l + 1]), and for each
    ratio a box scales[l] sqrt(ratio) wide and scales[l] / sqrt(ratio) high, and that one turned.

    Args:
        image_size: height and width in pixels, which scales are relative to.
        grid_sizes: (H_l, W_l) of each level.
        scales: one for each level and one behind; `default_scales` gives evenly spaced ones.
        aspect_ratios: of each level, above 1 each.
        steps: pixels from cell to cell of each level; None: image_size / grid_size. Cell (0, 0) is
            half a step inside.
        clip: sides are at most the image's. (Boxes still reach outside.)

    Raises:
        ValueError: not as many aspect_ratios or steps as grid_sizes, or not one more of scales.

    Source: Liu et al., "SSD", 2016, section 2.2; torchvision's DefaultBoxGenerator.
    """
    levels = len(grid_sizes)
    if steps is None:
        steps = [np.divide(image_size, grid_size) for grid_size in grid_sizes]
    _check_levels(levels, aspect_ratios=aspect_ratios, steps=steps)
    if len(scales) != levels + 1:
        raise ValueError(
            f"scales must be {levels + 1}, one for each of {levels} levels and one behind, got"
            f" {len(scales)}."
        )
    joined = []
    for level, grid_size in enumerate(grid_sizes):
        scale, following = scales[level : level + 2]
        sides = [(scale, scale), (math.sqrt(scale * following),) * 2]
        for ratio in aspect_ratios[level]:
            wide = (scale * math.sqrt(ratio), scale / math.sqrt(ratio))
            sides += [wide, wide[::-1]]
        sides = np.minimum(sides, 1) if clip else np.asarray(sides)
        joined.append(_at_centres(sides * image_size[::-1], grid_size, steps[level]))
    return jnp.concatenate(joined)


@one_program("grid_size", "stride")
def prior_boxes(priors, *, grid_size, stride):
    """YOLO's priors, centred in every cell of a grid: [A, 2] -> [H W A, 4] in pixels.

    Args:
        priors: [A, 2] widths and heights in pixels (YOLOv2 prints them in cells: times the stride).
        grid_size: height and width H, W of the feature map.
        stride: pixels from one cell to the next, an int or (down, right).

    Source: Redmon, Farhadi, "YOLO9000", 2017, section 2; "YOLOv3", 2018, section 2.1.
    """
    (priors,), dtype = box_ops.checked(_SIZES, priors=priors)
    return _at_centres(priors, grid_size, stride).astype(dtype)


@one_program()
def size_iou(sizes1, sizes2):
    """IoU of every pair of boxes with one centre, by their sizes: [N, 2] and [M, 2] -> [N, M].

    Args:
        sizes1, sizes2: widths and heights, not negative.

    Raises:
        ValueError: one is not [N, 2], or they are not of one floating dtype.
    """
    (sizes1, sizes2), dtype = box_ops.checked(_SIZES, sizes1=sizes1, sizes2=sizes2)
    common = jnp.minimum(sizes1[:, None], sizes2[None]).prod(axis=2)
    union = sizes1.prod(axis=1)[:, None] + sizes2.prod(axis=1)[None] - common
    return box_ops.quotient(common, union).astype(dtype)


@one_program("count", "max_steps")
def kmeans_priors(key, sizes, *, count, max_steps=300):
    """Priors that overlap a data set's boxes well: k-means of their sizes under 1 - IoU.

    Args:
        key: chooses the first priors: sizes of the data set, each with probability in proportion
            to its squared distance to the ones before (k-means++). The same key, the same priors.
        sizes: [N, 2] float, widths and heights of all boxes, in the unit the priors shall have.
        count: how many priors.
        max_steps: rounds at most; it ends when no box changes its prior.

    Returns:
        [count, 2], by increasing area. `size_iou(sizes, priors).max(1).mean()` is the figure that
        YOLO9000 reports (table 1).

    Raises:
        ValueError: sizes are not [N, 2] float, or fewer than count.

    Source: Redmon, Farhadi, "YOLO9000", 2017, section 2, "Dimension clusters". A prior becomes the
        mean of its boxes; one without boxes stays.
    """
    (sizes,), dtype = box_ops.checked(_SIZES, sizes=sizes)
    if not 1 <= count <= len(sizes):
        raise ValueError(f"count must be 1 to {len(sizes)}, the number of sizes, got {count}.")

    def nearest(priors):
        return size_iou(sizes, priors).argmax(axis=1)

    def add(i, priors):  # those to come are zeros, which overlap nothing
        distance = jnp.maximum(1 - size_iou(sizes, priors).max(axis=1), 0)
        chosen = jax.random.categorical(jax.random.fold_in(key, i), 2 * jnp.log(distance))
        return priors.at[i].set(sizes[chosen])

    def move(state):
        step, priors, owner, _ = state
        members = jax.ops.segment_sum(jnp.ones_like(owner), owner, count)[:, None]
        total = jax.ops.segment_sum(sizes, owner, count)
        priors = jnp.where(members > 0, total / jnp.maximum(members, 1), priors)
        after = nearest(priors)
        return step + 1, priors, after, (after != owner).any()

    priors = jax.lax.fori_loop(0, count, add, jnp.zeros((count, 2), sizes.dtype))
    start = (0, priors, nearest(priors), jnp.array(True))
    _, priors, _, _ = jax.lax.while_loop(lambda s: s[3] & (s[0] < max_steps), move, start)
    return priors[jnp.argsort(priors.prod(axis=1))].astype(dtype)


_SIZES = ("width", "height")


def _centred(sides):
    """Boxes of these widths and heights around the origin: [A, 2] -> [A, 4]."""
    return jnp.concatenate([jnp.asarray(-sides / 2), jnp.asarray(sides / 2)], axis=1)


def _at_centres(sides, grid_size, step):
    """Boxes of these sides in the middle of every cell: [A, 2] -> [H W A, 4]."""
    grid_size = sliding.per_axis(grid_size, 2, "grid_size")
    y, x = (
        (np.arange(count) + 0.5) * pixels
        for count, pixels in zip(grid_size, np.broadcast_to(step, 2))
    )
    return _at_every(_centred(sides), x, y)


def _at_every(cell, x, y):
    """The boxes [A, 4] moved to every place of a grid with columns at x [W] and rows at y [H]."""
    x, y = jnp.meshgrid(jnp.asarray(x, cell.dtype), jnp.asarray(y, cell.dtype))
    places = jnp.stack([x, y, x, y], axis=-1)  # [H, W, 4]
    return (places[:, :, None] + cell[None, None]).reshape(-1, 4)


def _check_levels(levels, **arguments):
    for name, values in arguments.items():
        if len(values) != levels:
            raise ValueError(
                f"{name} must have one entry for each of {levels} levels, got {len(values)}."
            )
