import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import ops
from jaxcv.ops import region_max
from tests.ops.test_regions import MAP, REGION, assert_equals_torchvision, cases
from tests.ops.transforms import assert_same_under_transforms


@pytest.mark.parametrize("case", cases("roi_pool"), ids=lambda c: c.name)
def test_roi_pool_equals_torchvision(case):
    assert_equals_torchvision(case, ops.roi_pool)


def test_roi_pool_of_the_slides_map():
    # Rounded: columns 1 to 7, rows 2 to 7; bins of rows 2-4 and 5-7, columns 1-4 and 4-7.
    np.testing.assert_array_equal(
        ops.roi_pool(MAP, REGION, 2).ravel(), MAP.dtype.type([0.8, 0.6, 0.9, 0.6])
    )
    # No half pixel: this box is columns 1 to 7, rows 3 to 8.
    np.testing.assert_array_equal(
        ops.roi_pool(MAP, REGION + 0.5, 2).ravel(), MAP.dtype.type([0.9, 0.6, 0.8, 0.6])
    )


POOL = jax.jit(lambda image, boxes: ops.roi_pool(image, boxes, (2, 3)))


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-10, 30)] * 4), min_size=4, max_size=4))
def test_roi_pool_is_the_maximum_of_its_pixels(boxes):
    image = np.random.default_rng(0).normal(size=(8, 11, 2)).astype(np.float32)
    boxes = np.array(boxes) / 2  # halves are rounded away from zero
    got = POOL(image, boxes.astype(np.float32))
    for box, output in zip(boxes, got):
        x1, y1, x2, y2 = (int(np.sign(c) * np.floor(abs(c) + 0.5)) for c in box)
        height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for p in range(2):
            for q in range(3):
                rows = np.arange(y1 + p * height // 2, y1 - (-(p + 1) * height // 2))
                columns = np.arange(x1 + q * width // 3, x1 - (-(q + 1) * width // 3))
                rows = rows[(rows >= 0) & (rows < 8)]
                columns = columns[(columns >= 0) & (columns < 11)]
                pixels = image[np.ix_(rows, columns)]
                want = pixels.max((0, 1)) if pixels.size else np.zeros(2)
                np.testing.assert_array_equal(output[p, q], want)


def test_the_gradient_of_equal_maxima_goes_to_the_first_in_row_order():
    image = jnp.array([[1.0, 3, 3], [3, 3, 0]])[:, :, None]
    box = jnp.array([[0.0, 0, 2, 1]])
    gradient = jax.grad(lambda image: ops.roi_pool(image, box, 1).sum())(image)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("place", range(3))
def test_a_pixel_of_nan_is_no_maximum_wherever_it_stands(place):
    row = np.insert(np.float32([2, 1]), place, np.nan)
    image, box = jnp.asarray(row)[None, :, None], jnp.array([[0.0, 0, 2, 0]])
    output, pullback = jax.vjp(lambda image: ops.roi_pool(image, box, 1), image)
    assert output.ravel() == 2
    np.testing.assert_array_equal(pullback(jnp.ones_like(output))[0].ravel(), row == 2)


def test_a_bin_of_nothing_but_nan_is_nan_and_of_minus_infinity_that():
    image = jnp.array([[np.nan, np.nan], [-np.inf, np.nan]])[:, :, None]
    boxes = jnp.array([[0.0, 0, 1, 0], [0, 0, 1, 1]])
    np.testing.assert_array_equal(ops.roi_pool(image, boxes, 1).ravel(), [np.nan, -np.inf])


def test_the_maximum_of_a_surface_passes_over_a_pixel_of_nan():
    # Crossings within one pixel of the nan at (0, 3) are nan; of the others (1, 1) is largest.
    image = jnp.zeros((2, 4, 1)).at[1, 1].set(5).at[0, 3].set(jnp.nan)
    got = ops.roi_align(image, jnp.array([[0.0, 0, 3, 1]]), 1, reduction="max")
    assert got.ravel() == 5


def test_the_maximum_of_a_surface_is_0_where_a_box_lies_outside():
    image = jnp.ones((8, 8, 1))
    boxes = jnp.array([[0.0, 100, 3, 103], [-50, -50, -40, -40], [0, 6, 3, 20]])
    got = ops.roi_align(image, boxes, 1, reduction="max")
    np.testing.assert_array_equal(got.ravel(), [0, 0, 1])


def test_a_box_that_is_not_finite_gives_nan():
    boxes = jnp.array([[0, 0, 3, 3], [jnp.nan, 0, 3, 3], [0, 0, jnp.inf, 3]])
    got = ops.roi_pool(jnp.ones((4, 5, 1)), boxes, 1)
    np.testing.assert_array_equal(got.ravel(), [1, np.nan, np.nan])


def test_no_boxes_give_an_empty_output():
    assert ops.roi_pool(jnp.ones((4, 5, 2)), jnp.zeros((0, 4)), (2, 3)).shape == (0, 2, 3, 2)


SURFACE = jax.jit(functools.partial(ops.roi_align, output_size=2, reduction="max", aligned=True))


@settings(max_examples=10, derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-3, 12, width=32)] * 4), min_size=3, max_size=3))
def test_the_maximum_of_the_surface_is_not_below_that_of_many_samples(boxes):
    image = np.random.default_rng(1).normal(size=(8, 9, 2)).astype(np.float32)
    boxes = np.sort(np.float32(boxes).reshape(3, 2, 2), axis=1).reshape(3, 4)
    got = np.asarray(SURFACE(image, boxes))
    steps = np.linspace(0, 1, 40)
    for box, output in zip(boxes - 0.5, got):
        y, x = (box[i] + (box[i + 2] - box[i]) * steps for i in (1, 0))
        y, x = jnp.float32(np.repeat(y, 40)[:, None]), jnp.float32(np.tile(x, 40)[:, None])
        samples = np.asarray(region_max._bilinear(jnp.asarray(image), y, x, region_max._row))
        # The 40 x 40 samples in 2 x 2 bins.
        samples = samples.reshape(2, 20, 2, 20, 2).max((1, 3))
        assert (output >= samples - 1e-5).all()
        # And near it: the surface has slopes of at most 6 for each of 40 steps.
        slack = 6 * (box[2:] - box[:2]).max() / 20 + 1e-5
        inside = (box > -1).all() and (box < 8).all()
        assert not inside or (output <= samples + slack).all()


def test_pyramid_pooling_has_the_lengths_of_the_paper():
    image = jnp.zeros((13, 10, 256))
    assert ops.spatial_pyramid_pool(image).shape == (5_376,)
    assert ops.spatial_pyramid_pool(image, levels=(6, 3, 2, 1)).shape == (12_800,)


def test_pyramid_pooling_by_hand():
    image = jnp.arange(12.0).reshape(3, 4)[:, :, None]
    # Three rows in two cells share the middle one.
    np.testing.assert_array_equal(ops.spatial_pyramid_pool(image, levels=(2, 1)), [5, 7, 9, 11, 11])


@pytest.mark.parametrize(
    "function",
    [
        lambda image, boxes: ops.roi_pool(image, boxes, 2),
        lambda image, boxes: jax.grad(lambda x: (ops.roi_pool(x, boxes, 2) ** 2).sum())(image),
        lambda image, boxes: ops.spatial_pyramid_pool(image, levels=(3, 1)),
    ],
    ids=["roi_pool", "gradient", "spatial_pyramid_pool"],
)
def test_all_transformations_agree(function):
    image = np.random.default_rng(2).normal(size=(8, 11, 4)).astype(np.float32)
    boxes = np.float32([[1.2, 1.1, 4.3, 4.7], [0.3, 2.2, 9.1, 6.9]])
    assert_same_under_transforms(function, image, boxes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.roi_pool(MAP[None], REGION, 2), r"features must be \[H, W, C\].*vmap"),
        (lambda: ops.roi_pool(MAP, REGION[0], 2), r"boxes must be \[N, 4\].*got \[4\]"),
        (lambda: ops.spatial_pyramid_pool(MAP[None]), r"features must be \[H, W, C\].*vmap"),
        (lambda: ops.spatial_pyramid_pool(MAP, levels=4), r"levels must be a sequence such as"),
        (lambda: ops.spatial_pyramid_pool(MAP, levels=(2, 0)), "levels must be at least 1"),
    ],
)
def test_pooling_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
