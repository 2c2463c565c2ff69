import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from jaxcv.ops import paste
from tests import golden
from tests.ops.transforms import assert_same_under_transforms

BOXES = np.float32([[5.3, 4.2, 30.8, 25.1], [-8.6, -5.4, 20.2, 17.9], [70, 70, 80, 90]])
MASKS = np.random.default_rng(0).uniform(size=(3, 6, 6)).astype(np.float32)


@pytest.mark.parametrize(
    "case",
    golden.cases("ops/roi.npz", "torchvision.models.detection.roi_heads.paste_masks_in_image"),
    ids=lambda c: c.name,
)
def test_paste_masks_equals_torchvision(case):
    size = tuple(case.arguments["img_shape"])
    masks, boxes = case.inputs["masks"][:, 0], case.inputs["boxes"]
    got = ops.paste_masks(masks, boxes, size, padding=case.arguments["padding"])
    golden.assert_close(got[:, None], case.outputs["output"], case.error["output"])


def test_a_mask_is_pasted_into_every_pixel_of_its_box_by_hand():
    # Two pixels for each of the mask's: centres at 1/4 and 3/4 of the way, the border repeated.
    mask = jnp.array([[[0.0, 4], [0, 4]]])
    got = ops.paste_masks(mask, jnp.array([[1.0, 1, 4, 2]]), (4, 6), padding=0)[0]
    row = [0, 0, 1, 3, 4, 0]
    np.testing.assert_allclose(got, [[0] * 6, row, row, [0] * 6])


def test_boxes_larger_than_a_tile_are_pasted_whole():
    height, width = (3 * tile + 7 for tile in paste._TILE)
    box = jnp.array([[3.0, 2, width - 5, height - 4]])
    got = ops.paste_masks(jnp.ones((1, 2, 2)), box, (height, width), padding=0)[0]
    want = np.zeros((height, width))
    want[2 : height - 3, 3 : width - 4] = 1
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_box_outside_inverted_or_not_finite_leaves_the_image_empty():
    boxes = jnp.array([[50, 50, 60, 60], [9, 9, 2, 2], [jnp.nan, 0, 5, 5], [0, 0, jnp.inf, 5]])
    got = ops.paste_masks(jnp.ones((4, 6, 6)), boxes, (20, 30))
    np.testing.assert_array_equal(got, np.zeros((4, 20, 30)))


def test_double_precision_gives_what_single_gives():
    want = ops.paste_masks(MASKS, BOXES, (20, 30))
    with jax.enable_x64(True):
        got = ops.paste_masks(np.float64(MASKS), np.float64(BOXES), (20, 30))
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_the_form_for_a_gpu_agrees_with_that_for_a_cpu():
    corners = paste._corners(jnp.asarray(BOXES), 1.0)
    masks = jnp.asarray(MASKS)
    products = paste._paste_by_products(masks, corners, (40, 60))
    np.testing.assert_allclose(products, paste._paste_tiles(masks, corners, (40, 60)), atol=1e-6)


def test_gradient_by_the_masks_is_the_transpose():
    # A linear function: <paste(m), g> = <m, gradient>.
    function = functools.partial(ops.paste_masks, boxes=BOXES, image_size=(40, 60))
    pasted, pullback = jax.vjp(function, MASKS)
    g = np.random.default_rng(1).normal(size=pasted.shape).astype(np.float32)
    (gradient,) = pullback(jnp.asarray(g))
    np.testing.assert_allclose((pasted * g).sum(), (MASKS * gradient).sum(), rtol=1e-4)
    assert np.isfinite(gradient).all()


def test_all_transformations_agree():
    assert_same_under_transforms(
        lambda masks, boxes: ops.paste_masks(masks, boxes, (20, 30)), MASKS, BOXES
    )
    assert ops.paste_masks(MASKS[:0], BOXES[:0], (20, 30)).shape == (0, 20, 30)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.paste_masks(MASKS[..., None], BOXES, 9), r"masks must be \[N, M, M\].*vmap"),
        (lambda: ops.paste_masks(MASKS, BOXES[:2], 9), r"N of masks, 3, got \[2, 4\]"),
        (lambda: ops.paste_masks(MASKS, BOXES, (9, 0)), "image_size must be at least 1"),
        (lambda: ops.paste_masks(MASKS, BOXES, 9, padding=-1), "padding must be at least 0"),
    ],
)
def test_paste_masks_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
