import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.test_util import check_grads

from jaxcv import ops
from tests import golden
from tests.meets import assert_meets
from tests.ops.transforms import assert_same_under_transforms

FILE = "ops/boxes.npz"
VISION = "torchvision.ops."
MEASURES = ["box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]
quick = settings(max_examples=25, deadline=None, derandomize=True)

# A square, no width, no height, a point, negative sides, far away, sides whose squares vanish.
ODD = np.array(
    [
        [0, 0, 10, 10],
        [5, 2, 5, 9],
        [0, 0, 10, 0],
        [3, 3, 3, 3],
        [8, 2, 4, 6],
        [8, 8, 2, 2],
        [1000, 1000, 1100, 1200],
        [0, 0, 1e-12, 1e-12],
        [0, 0, 1e-25, 0],
    ],
    np.float32,
)
PROPER = np.array([[3.1, 4.2, 20, 31], [5, 8, 12, 13], [40, 41, 77, 58]], np.float32)
OTHERS = np.array([[0, 1, 18, 24], [6, 7, 14, 13.5], [50, 30, 90, 52]], np.float32)


@pytest.mark.parametrize(
    "case",
    golden.cases(FILE, *(VISION + name for name in MEASURES)),
    ids=lambda c: c.name,
)
def test_pairwise_overlaps_equal_torchvision_and_are_finite_where_it_is_not(case):
    measure = getattr(ops, case.function.removeprefix(VISION))
    got = np.asarray(jax.jit(measure)(case.inputs["boxes1"], case.inputs["boxes2"]))
    want = case.outputs["output"]
    there = np.isfinite(want)
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    golden.assert_close(got[there], want[there], case.error["output"])


@pytest.mark.parametrize(
    "case",
    golden.cases("ops/layers.npz", *(f"{VISION}{name}_loss" for name in MEASURES[1:])),
    ids=lambda c: c.name,
)
def test_paired_overlaps_have_the_values_and_gradients_of_the_losses(case):
    name = case.function.removeprefix(VISION).removesuffix("_loss")

    def loss(inputs):
        losses = 1 - getattr(ops, f"paired_{name}")(inputs["boxes1"], inputs["boxes2"])
        return (losses.mean() if case.arguments["reduction"] == "mean" else losses,)

    assert_meets(case, loss)


@pytest.mark.parametrize(
    "case",
    golden.cases(
        FILE, *(VISION + name for name in ("box_area", "box_convert", "clip_boxes_to_image"))
    ),
    ids=lambda c: c.name,
)
def test_area_conversion_and_clipping_equal_torchvision(case):
    name = case.function.removeprefix(VISION).removesuffix("_to_image")
    got = getattr(ops, name)(case.inputs["boxes"], **case.arguments)
    golden.assert_close(got, case.outputs["output"], case.error["output"])


@pytest.mark.parametrize(
    "case", golden.cases(FILE, VISION + "remove_small_boxes"), ids=lambda c: c.name
)
def test_small_boxes_are_those_of_torchvision(case):
    valid = ops.remove_small_boxes(case.inputs["boxes"], **case.arguments)
    np.testing.assert_array_equal(np.flatnonzero(valid), case.outputs["output"])


def test_overlaps_of_five_boxes_by_hand():
    a, b, c, d, e = range(5)
    boxes = jnp.array([[0.0, 0, 4, 4], [1, 1, 5, 5], [0, 0, 2, 2], [6, 6, 8, 8], [5, 5, 7, 7]])
    iou = np.zeros((5, 5))
    # 3x3 of 16 + 16 - 9; 2x2 of 16; 1x1 of 16 + 4 - 1; 1x1 of 4 + 4 - 1.
    for i, j, value in ((a, b, 9 / 23), (a, c, 1 / 4), (b, c, 1 / 19), (d, e, 1 / 7)):
        iou[i, j] = iou[j, i] = value
    np.testing.assert_allclose(ops.box_iou(boxes, boxes), iou + np.eye(5), atol=1e-6)
    generalized = ops.generalized_box_iou(boxes, boxes)
    # The hull of a and b is 5x5, two of its pixels squared in neither; that of a and d 8x8.
    assert generalized[a, b] == pytest.approx(9 / 23 - 2 / 25)
    assert generalized[d, e] == pytest.approx(1 / 7 - 2 / 9)
    assert generalized[a, d] == pytest.approx(-44 / 64)
    # Equal aspects: centres 2 / 50 apart, and complete IoU is the same.
    assert ops.distance_box_iou(boxes, boxes)[a, b] == pytest.approx(9 / 23 - 2 / 50)
    assert ops.complete_box_iou(boxes, boxes)[a, b] == pytest.approx(9 / 23 - 2 / 50)


def test_complete_iou_of_a_square_and_its_half():
    square, half = jnp.array([[0.0, 0, 4, 4]]), jnp.array([[0.0, 0, 4, 2]])
    assert ops.paired_distance_box_iou(square, half)[0] == pytest.approx(0.5 - 1 / 32)
    assert ops.paired_complete_box_iou(square, half)[0] == pytest.approx(0.465502, abs=1e-6)


def test_the_responsible_predictor_of_yolo_is_the_one_with_the_larger_iou():
    target = jnp.array([[150.0, 225, 250, 375]])  # centre (200, 300), 100 x 150
    guesses = jnp.array([[150.0, 220, 260, 380], [120, 250, 280, 350]])
    np.testing.assert_allclose(ops.box_iou(target, guesses), [[0.852273, 0.476190]], atol=1e-6)


def test_a_crowd_divides_by_the_other_boxs_area_alone():
    boxes1, boxes2 = jnp.array([[0.0, 0, 2, 2]]), jnp.array([[1.0, 1, 5, 5], [1, 1, 5, 5]])
    got = ops.box_iou(boxes1, boxes2, crowd=np.array([False, True]))
    np.testing.assert_allclose(got, [[1 / 19, 1 / 4]], rtol=1e-6)


@quick
@given(hnp.arrays(np.float32, (2, 6, 4), elements=st.integers(-40, 40)))
def test_iou_is_symmetric_within_0_and_1_and_what_counting_gives(corners):
    boxes = np.concatenate([corners[..., :2], corners[..., :2] + np.abs(corners[..., 2:])], axis=2)
    got = np.asarray(ops.box_iou(boxes[0], boxes[1]))
    np.testing.assert_allclose(got, np.asarray(ops.box_iou(boxes[1], boxes[0])).T, atol=1e-7)
    assert (got >= 0).all()
    assert (got <= 1).all()
    # Whole numbers: a box is the set of unit squares inside it.
    cells = [[_unit_squares(box) for box in side] for side in boxes]
    want = [[len(a & b) / max(len(a | b), 1) for b in cells[1]] for a in cells[0]]
    np.testing.assert_allclose(got, want, atol=1e-6)


def _unit_squares(box):
    x1, y1, x2, y2 = map(int, box)
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


@quick
@given(
    hnp.arrays(np.float32, (5, 4), elements=st.integers(-64, 64)),
    st.sampled_from(["xyxy", "xywh", "cxcywh"]),
    st.sampled_from(["xyxy", "xywh", "cxcywh"]),
)
def test_conversion_there_and_back_changes_nothing(boxes, there, back):
    other = ops.box_convert(boxes, in_fmt=there, out_fmt=back)
    np.testing.assert_array_equal(ops.box_convert(other, in_fmt=back, out_fmt=there), boxes)


@pytest.mark.parametrize("name", MEASURES)
def test_gradients_are_finite_for_boxes_without_area(name):
    gradients = jax.jit(jax.grad(lambda *b: getattr(ops, name)(*b).sum(), argnums=(0, 1)))(ODD, ODD)
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize(
    "name", MEASURES[:3]
)  # complete IoU: alpha has no gradient, see the losses
def test_gradients_agree_with_finite_differences(name):
    with jax.enable_x64(True):
        boxes = jnp.asarray(PROPER, jnp.float64), jnp.asarray(OTHERS, jnp.float64)
        assert getattr(ops, name)(*boxes).dtype == jnp.float64
        check_grads(getattr(ops, f"paired_{name}"), boxes, order=1, modes=["rev"], eps=1e-5)


@pytest.mark.parametrize("name", MEASURES)
def test_paired_is_the_diagonal_of_all_pairs(name):
    both = getattr(ops, name)(PROPER, OTHERS)
    one = getattr(ops, f"paired_{name}")(PROPER, OTHERS)
    np.testing.assert_allclose(one, np.diagonal(both), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("function", [ops.box_iou, ops.paired_complete_box_iou])
def test_bfloat16_is_computed_in_float32(function):
    boxes1, boxes2 = jnp.asarray(PROPER, jnp.bfloat16), jnp.asarray(OTHERS, jnp.bfloat16)
    want = function(boxes1.astype(jnp.float32), boxes2.astype(jnp.float32)).astype(jnp.bfloat16)
    got = function(boxes1, boxes2)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, want)


def all_pairs(boxes1, boxes2, crowd):
    return {
        "crowd": ops.box_iou(boxes1, boxes2, crowd=crowd),
        **{name: getattr(ops, name)(boxes1, boxes2) for name in MEASURES},
    }


def pair_by_pair(boxes1, boxes2):
    return {name: getattr(ops, f"paired_{name}")(boxes1, boxes2) for name in MEASURES}


def one_by_one(boxes, size):
    return {
        "area": ops.box_area(boxes),
        "convert": ops.box_convert(boxes, in_fmt="xyxy", out_fmt="cxcywh"),
        "clip": ops.clip_boxes(boxes, size=size),
        "remove_small": ops.remove_small_boxes(boxes, min_size=8),
    }


@pytest.mark.parametrize(
    ("functions", "arrays"),
    [
        (all_pairs, (PROPER, OTHERS[:2], np.array([True, False]))),
        (pair_by_pair, (PROPER, OTHERS)),
        (one_by_one, (PROPER, np.array([20.0, 30], np.float32))),
    ],
)
def test_all_functions_are_the_same_under_transformations(functions, arrays):
    assert_same_under_transforms(functions, *arrays)


def test_none_and_one_box():
    none, one, size = np.zeros((0, 4), np.float32), PROPER[:1], np.array([20.0, 30], np.float32)
    for a, b in ((none, one), (one, none), (one, one)):
        shapes = {name: x.shape for name, x in jax.jit(all_pairs)(a, b, b[:, 0] > 0).items()}
        assert shapes == dict.fromkeys(["crowd", *MEASURES], (len(a), len(b)))
    assert {x.shape for x in jax.jit(pair_by_pair)(none, none).values()} == {(0,)}
    assert {len(x) for x in jax.jit(one_by_one)(none, size).values()} == {0}
    for name, overlap in jax.jit(pair_by_pair)(one, one).items():
        assert overlap[0] == pytest.approx(1), name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.box_iou(PROPER, PROPER[None]), r"boxes2 must be \[N, 4\].*\[1, 3, 4\].*vmap"),
        (lambda: ops.box_area(np.zeros((2, 5), np.float32)), r"boxes must be \[N, 4\].*\[2, 5\]"),
        (lambda: ops.box_area(np.zeros((2, 4), int)), "floating dtype, got boxes int32"),
        (lambda: ops.box_iou(PROPER, PROPER, crowd=np.zeros(2, bool)), r"crowd must be \[3\] bool"),
        (lambda: ops.paired_box_iou(PROPER, PROPER[:2]), "as many, got 3 and 2.*paired_"),
        (
            lambda: ops.box_convert(PROPER, in_fmt="xyxy", out_fmt="cxywh"),
            "out_fmt must be one of.*got 'cxywh'.*'cxcywh'",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
