import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxcv import ops
from tests import golden
from tests.ops.transforms import assert_same_under_transforms

FILE = "ops/boxes.npz"
SIZES = np.array([[10, 13], [16, 30], [33, 23], [30, 61], [62, 45]], np.float32)


@pytest.mark.parametrize("case", golden.cases(FILE, "anchor_generator"), ids=lambda c: c.name)
def test_anchors_equal_torchvision(case):
    np.testing.assert_array_equal(
        np.concatenate(ops.pyramid_anchors(**case.arguments)), case.outputs["anchors"]
    )
    cells = [
        ops.cell_anchors(sizes=sizes, aspect_ratios=ratios)
        for sizes, ratios in zip(case.arguments["sizes"], case.arguments["aspect_ratios"])
    ]
    np.testing.assert_array_equal(np.concatenate(cells), case.outputs["cell_anchors"])


@pytest.mark.parametrize("case", golden.cases(FILE, "default_box_generator"), ids=lambda c: c.name)
def test_default_boxes_equal_torchvision(case):
    options = dict(case.arguments)
    if "scales" not in options:
        ratios = {name: options.pop(name) for name in ("min_ratio", "max_ratio")}
        options["scales"] = ops.default_scales(levels=len(options["grid_sizes"]), **ratios)
    boxes = ops.default_boxes(**options)
    golden.assert_close(boxes, case.outputs["boxes"], case.error["boxes"])
    # Width and height over the image's, of the first cell of each level.
    height, width = options["image_size"]
    cells = [h * w for h, w in options["grid_sizes"]]
    counts = [2 + 2 * len(ratios) for ratios in options["aspect_ratios"]]
    starts = np.cumsum([0] + [cell * count for cell, count in zip(cells, counts)])
    first = np.concatenate([boxes[i : i + count] for i, count in zip(starts, counts)])
    limit = 1 if options.get("clip", True) else np.inf
    golden.assert_close(
        (first[:, 2:] - first[:, :2]) / [width, height], np.minimum(case.outputs["wh_pairs"], limit)
    )


def test_how_many_boxes_the_detectors_look_at():
    def count(function, *arrays, **sizes):
        boxes = jax.eval_shape(functools.partial(function, **sizes), *arrays)
        return sum(len(level) for level in jax.tree.leaves(boxes))

    cell = jnp.zeros((9, 4))  # three sizes, three ratios
    assert count(ops.grid_anchors, cell, grid_size=(37, 62), stride=16) == 20_646
    grids = [(math.ceil(800 / s), math.ceil(1024 / s)) for s in (4, 8, 16, 32, 64)]
    pyramid = {"sizes": [[s] for s in (32, 64, 128, 256, 512)], "aspect_ratios": [[0.5, 1, 2]] * 5}
    assert (
        count(ops.pyramid_anchors, image_size=(800, 1024), grid_sizes=grids, **pyramid) == 204_624
    )

    def ssd(size, sides, ratios):
        scales = ops.default_scales(levels=len(sides))
        grids = [(side, side) for side in sides]
        return count(
            ops.default_boxes,
            image_size=(size, size),
            grid_sizes=grids,
            scales=scales,
            aspect_ratios=ratios,
        )

    assert ssd(300, (38, 19, 10, 5, 3, 1), [[2], *[[2, 3]] * 3, [2], [2]]) == 8_732
    assert ssd(512, (64, 32, 16, 8, 4, 2, 1), [[2], *[[2, 3]] * 4, [2], [2]]) == 24_564
    assert count(ops.prior_boxes, SIZES, grid_size=(13, 13), stride=32) == 845
    three = [count(ops.prior_boxes, SIZES[:3], grid_size=(n, n), stride=1) for n in (80, 40, 20)]
    assert sum(three) == 25_200


def test_anchors_start_at_the_corner_and_priors_half_a_stride_inside():
    cell = jnp.array([[-2.0, -1, 2, 1]])
    np.testing.assert_array_equal(
        ops.grid_anchors(cell, grid_size=(2, 2), stride=(8, 16)),
        [[-2, -1, 2, 1], [14, -1, 18, 1], [-2, 7, 2, 9], [14, 7, 18, 9]],
    )
    np.testing.assert_array_equal(
        ops.prior_boxes(jnp.array([[4.0, 2]]), grid_size=(1, 2), stride=8),
        [[2, 3, 6, 5], [10, 3, 14, 5]],
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(hnp.arrays(np.float32, (2, 4, 2), elements=st.integers(0, 20)))
def test_the_iou_of_sizes_is_that_of_boxes_with_one_centre(sizes):
    boxes1, boxes2 = np.concatenate([-sizes / 2, sizes / 2], axis=2)
    np.testing.assert_allclose(
        ops.size_iou(*sizes), ops.box_iou(boxes1, boxes2), rtol=1e-6, atol=1e-7
    )


def test_kmeans_finds_planted_clusters():
    planted = np.array([[10, 12], [40, 20], [90, 120]], np.float32)
    noise = np.random.default_rng(0).uniform(-1.5, 1.5, (3, 40, 2)).astype(np.float32)
    clusters = planted[:, None] + noise
    shuffled = np.random.default_rng(1).permutation(clusters.reshape(-1, 2))
    find = jax.jit(functools.partial(ops.kmeans_priors, count=3))
    for seed in range(5):
        priors = find(jax.random.key(seed), shuffled)
        np.testing.assert_allclose(priors, clusters.mean(axis=1), rtol=1e-5)


def test_kmeans_stops_where_every_prior_is_the_mean_of_its_boxes():
    sizes = np.random.default_rng(0).gamma(2, 30, (200, 2)).astype(np.float32)
    find = jax.jit(functools.partial(ops.kmeans_priors, count=5))
    priors = np.asarray(find(jax.random.key(0), sizes))
    np.testing.assert_array_equal(priors, find(jax.random.key(0), sizes))
    assert (np.diff(priors.prod(axis=1)) > 0).all()
    owner = np.asarray(ops.size_iou(sizes, priors)).argmax(axis=1)
    for i, prior in enumerate(priors):
        np.testing.assert_allclose(prior, sizes[owner == i].mean(axis=0), rtol=1e-4)


def test_kmeans_of_equal_boxes_and_of_as_many_priors_as_boxes():
    same = np.full((4, 2), 7, np.float32)
    np.testing.assert_array_equal(ops.kmeans_priors(jax.random.key(0), same, count=2), same[:2])
    priors = ops.kmeans_priors(jax.random.key(0), SIZES, count=5)
    np.testing.assert_array_equal(priors, SIZES[np.argsort(SIZES.prod(axis=1))])


def everything(sizes, cell, seed):
    return {
        "size_iou": ops.size_iou(sizes, sizes),
        "prior_boxes": ops.prior_boxes(sizes, grid_size=(2, 3), stride=8),
        "grid_anchors": ops.grid_anchors(cell, grid_size=(2, 3), stride=8),
        "kmeans_priors": ops.kmeans_priors(jax.random.key(seed[0]), sizes, count=2),
        "pyramid_anchors": ops.pyramid_anchors(
            image_size=(32, 32), grid_sizes=[(4, 4)], sizes=[[8]], aspect_ratios=[[1, 2]]
        ),
        "default_boxes": ops.default_boxes(
            image_size=(32, 32), grid_sizes=[(4, 4)], scales=[0.2, 1], aspect_ratios=[[2]]
        ),
    }


def test_all_functions_are_the_same_under_transformations():
    cell = np.array([[-2, -1, 2, 1]], np.float32)
    assert_same_under_transforms(everything, SIZES, cell, np.array([3]))


def test_no_sizes():
    none = np.zeros((0, 2), np.float32)
    assert ops.size_iou(none, SIZES).shape == (0, 5)
    assert ops.prior_boxes(none, grid_size=(2, 3), stride=8).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.pyramid_anchors(
                image_size=(8, 8), grid_sizes=[(2, 2)], sizes=[[4]], aspect_ratios=[0.5, 1, 2]
            ),
            "aspect_ratios must have one entry for each of 1 levels, got 3",
        ),
        (
            lambda: ops.default_boxes(
                image_size=(8, 8), grid_sizes=[(2, 2)], scales=[0.2], aspect_ratios=[[2]]
            ),
            "scales must be 2, one for each of 1 levels and one behind, got 1",
        ),
        (
            lambda: ops.size_iou(SIZES, SIZES[0]),
            r"sizes2 must be \[N, 2\] \(width, height\).*\[2\]",
        ),
        (
            lambda: ops.kmeans_priors(jax.random.key(0), SIZES, count=6),
            "count must be 1 to 5, the number of sizes, got 6",
        ),
        (
            lambda: ops.grid_anchors(np.zeros((1, 4), np.float32), grid_size=(2, 2), stride=8.5),
            "stride must be an int",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
