import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden
from tests.ops.transforms import assert_same_under_transforms

FILE = "ops/boxes.npz"
SQUARES = np.zeros((3, 6, 6), bool)  # 2x2, 3x3 around it, none
SQUARES[0, 1:3, 2:4] = SQUARES[1, 0:3, 2:5] = True


@pytest.mark.parametrize("case", golden.cases(FILE, "mask_iou"), ids=lambda c: c.name)
def test_mask_iou_equals_pycocotools(case):
    crowd = np.array(case.arguments["iscrowd"], bool)
    got = ops.mask_iou(case.inputs["detections"], case.inputs["ground_truth"], crowd=crowd)
    golden.assert_close(got, case.outputs["output"], case.error["output"])


@pytest.mark.parametrize(
    "case", golden.cases(FILE, "torchvision.ops.masks_to_boxes"), ids=lambda c: c.name
)
def test_masks_to_boxes_equals_torchvision(case):
    np.testing.assert_array_equal(ops.masks_to_boxes(case.inputs["masks"]), case.outputs["output"])


def test_mask_iou_by_hand():
    want = [[1, 4 / 9, 0], [4 / 9, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(ops.mask_iou(SQUARES, SQUARES), want, rtol=1e-6)
    # In a crowd, what of the first lies in the second.
    got = ops.mask_iou(SQUARES, SQUARES, crowd=np.array([False, True, True]))
    np.testing.assert_allclose(got, [[1, 1, 0], [4 / 9, 1, 0], [0, 0, 0]], rtol=1e-6)


def test_the_box_of_a_mask_ends_on_its_last_pixel_and_that_of_none_is_zero():
    np.testing.assert_array_equal(
        ops.masks_to_boxes(SQUARES), [[2, 1, 3, 2], [2, 0, 4, 2], [0, 0, 0, 0]]
    )


def both(masks, crowd):
    return ops.mask_iou(masks, masks, crowd=crowd), ops.masks_to_boxes(masks)


def test_both_are_the_same_under_transformations():
    assert_same_under_transforms(both, SQUARES, np.array([False, True, True]))


def test_no_masks():
    overlaps, boxes = both(SQUARES[:0], np.zeros(0, bool))
    assert overlaps.shape == (0, 0)
    assert boxes.shape == (0, 4)


def test_results_are_float64_where_jax_is():
    with jax.enable_x64(True):
        assert {x.dtype for x in both(SQUARES, np.zeros(3, bool))} == {jnp.dtype(jnp.float64)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.masks_to_boxes(SQUARES[0]), r"masks must be \[N, H, W\], got \[6, 6\]"),
        (lambda: ops.masks_to_boxes(SQUARES / 2), "bool or integer, got float32.*masks > 0.5"),
        (
            lambda: ops.mask_iou(SQUARES, SQUARES[:, 1:]),
            r"one height and width.*\[6, 6\].*\[5, 6\]",
        ),
        (lambda: both(SQUARES, np.zeros(2, bool)), r"crowd must be \[3\] bool, got \[2\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
