import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests.ops.transforms import assert_same_under_transforms

IMAGE = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
BOXES = np.float32([[1.25, 0.5, 6.6, 4.3], [5.1, 4.2, 2.3, 1.4]])  # the second is flipped
GAUGE = np.mgrid[0:6, 0:8].transpose(1, 2, 0).astype(np.float32)  # the value at (y, x) is (y, x)


def test_crop_and_resize_reads_both_edges_of_the_box():
    crop = ops.crop_and_resize(jnp.asarray(GAUGE), jnp.array([[1.0, 2, 5, 3]]), (3, 5))[0]
    np.testing.assert_allclose(crop[:, 0, 0], [2, 2.5, 3], rtol=1e-6)
    np.testing.assert_allclose(crop[0, :, 1], [1, 2, 3, 4, 5], rtol=1e-6)


def test_one_row_of_a_crop_is_the_middle_and_a_swapped_box_is_flipped():
    crop = ops.crop_and_resize(jnp.asarray(GAUGE), jnp.array([[5.0, 1, 1, 4]]), (1, 3))[0]
    np.testing.assert_allclose(crop[0, :, 0], [2.5] * 3, rtol=1e-6)
    np.testing.assert_allclose(crop[0, :, 1], [5, 3, 1], rtol=1e-6)


def test_samples_outside_the_map_are_the_extrapolation_value():
    box = jnp.array([[-1.0, 0, 7, 5]])
    crop = ops.crop_and_resize(jnp.asarray(GAUGE), box, (2, 3), extrapolation_value=9)[0]
    np.testing.assert_array_equal(crop[..., 1], [[9, 3, 7], [9, 3, 7]])


def test_roi_warp_starts_at_the_corner_and_leaves_out_the_far_edge():
    warped = ops.roi_warp(jnp.asarray(GAUGE), jnp.array([[2.0, 4, 10, 8]]), 4, spatial_scale=0.5)[0]
    np.testing.assert_allclose(warped[:, 0, 0], [2, 2.5, 3, 3.5], rtol=1e-6)
    np.testing.assert_allclose(warped[0, :, 1], [1, 2, 3, 4], rtol=1e-6)


def test_roi_warp_fades_to_zero_outside_the_map():
    warped = ops.roi_warp(jnp.ones((4, 4, 1)), jnp.array([[-1.5, 0, 0.5, 1]]), (1, 4))
    np.testing.assert_allclose(warped.ravel(), [0, 0, 0.5, 1])


@pytest.mark.parametrize("function", [ops.roi_warp, ops.crop_and_resize])
def test_gradients_are_those_of_finite_differences(function):
    with jax.enable_x64(True):
        image, boxes = IMAGE.astype(np.float64), BOXES.astype(np.float64)
        value = jax.jit(lambda image, boxes: (function(image, boxes, 3) ** 2).sum())
        gradients = jax.grad(value, (0, 1))(image, boxes)
        random = np.random.default_rng(1)
        for i, at in enumerate((image, boxes)):
            direction = 1e-6 * random.normal(size=at.shape)
            moved = [[image, boxes], [image, boxes]]
            moved[0][i], moved[1][i] = at + direction, at - direction
            slope = (value(*moved[0]) - value(*moved[1])) / 2
            np.testing.assert_allclose((gradients[i] * direction).sum(), slope, rtol=1e-5)


@pytest.mark.parametrize("function", [ops.roi_warp, ops.crop_and_resize])
def test_gradients_are_finite_for_boxes_without_area_on_the_border(function):
    boxes = jnp.array([[0.0, 0, 0, 0], [7, 5, 7, 5], [3, 3, 3, 3]])
    gradients = jax.grad(lambda i, b: function(i, b, 2).sum(), (0, 1))(jnp.asarray(IMAGE), boxes)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_constant_map_has_no_gradient_by_a_box_inside():
    # On pixels too, where the two sides of the surface differ.
    box = jnp.array([[1.0, 1, 4, 3]])
    gradient = jax.grad(lambda box: ops.crop_and_resize(jnp.ones((6, 8, 1)), box, 4).sum())(box)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("function", [ops.roi_warp, ops.crop_and_resize])
def test_all_transformations_agree(function):
    assert_same_under_transforms(lambda image, boxes: function(image, boxes, 3), IMAGE, BOXES)
    assert function(jnp.asarray(IMAGE), jnp.zeros((0, 4)), 3).shape == (0, 3, 3, 2)


@pytest.mark.parametrize("function", [ops.roi_warp, ops.crop_and_resize])
def test_crops_name_the_wrong_argument(function):
    with pytest.raises(ValueError, match=r"features must be \[H, W, C\].*vmap"):
        function(IMAGE[None], BOXES, 2)
    with pytest.raises(ValueError, match="output_size must be at least 1"):
        function(IMAGE, BOXES, 0)
