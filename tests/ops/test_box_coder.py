import functools

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
from tests.ops.transforms import assert_same_under_transforms

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
ANCHORS = np.array([[0, 0, 8, 4], [10, 20, 26, 52]], np.float32)
BOXES = np.array([[2, 1, 18, 5], [10, 20, 26, 52]], np.float32)


@pytest.mark.parametrize("case", golden.cases("ops/boxes.npz", "box_coder"), ids=lambda c: c.name)
def test_coder_equals_torchvision(case):
    anchors, weights = case.inputs["boxes"], case.arguments["weights"]
    if case.arguments["mode"] == "encode":
        got = ops.encode_boxes(case.inputs["reference_boxes"], anchors, weights=weights)
    else:
        codes = case.inputs["rel_codes"]
        if codes.shape[1] > 4:
            codes = codes.reshape(len(codes), -1, 4)
        got = ops.decode_boxes(codes, anchors, weights=weights).reshape(len(codes), -1)
    golden.assert_close(got, case.outputs["output"], case.error["output"])


def test_codes_by_hand():
    # 6 right of an anchor 8 wide, 1 below one 4 high, twice as wide, as high.
    want = [[10 * 6 / 8, 10 * 1 / 4, 5 * np.log(2), 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(ops.encode_boxes(BOXES, ANCHORS, weights=WEIGHTS), want, rtol=1e-6)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.float32, (2, 5, 2), elements=st.integers(-50, 50)),
    hnp.arrays(np.float32, (2, 5, 2), elements=st.integers(1, 60)),
)
def test_decoding_undoes_encoding(corners, sizes):
    boxes, anchors = np.concatenate([corners, corners + sizes], axis=2)
    codes = ops.encode_boxes(boxes, anchors, weights=WEIGHTS)
    got = ops.decode_boxes(codes, anchors, weights=WEIGHTS)
    np.testing.assert_allclose(got, boxes, atol=1e-4)


def test_a_box_grows_at_most_to_the_largest_scale():
    codes = jnp.array([[0.0, 0, 100, 0]])
    unit = jnp.array([[-0.5, -0.5, 0.5, 0.5]])
    np.testing.assert_allclose(
        ops.decode_boxes(codes, unit), [[-31.25, -0.5, 31.25, 0.5]], rtol=1e-5
    )
    np.testing.assert_allclose(
        ops.decode_boxes(codes / 20, unit, max_scale=None)[0, 2], np.exp(5) / 2, rtol=1e-5
    )
    gradient = jax.grad(lambda c: ops.decode_boxes(c, unit).sum())(codes)
    assert np.isfinite(gradient).all()


def test_padding_has_code_zero_and_no_gradient():
    padding = np.zeros((2, 4), np.float32)
    for boxes, anchors in ((padding, ANCHORS), (BOXES, padding), (padding, padding)):
        codes, gradients = jax.value_and_grad(
            lambda *a: ops.encode_boxes(*a).sum(), argnums=(0, 1)
        )(boxes, anchors)
        assert codes == 0
        for gradient in gradients:
            np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("function", [ops.encode_boxes, ops.decode_boxes])
def test_gradients_agree_with_finite_differences(function):
    with jax.enable_x64(True):
        first = jnp.asarray(BOXES if function is ops.encode_boxes else BOXES / 50, jnp.float64)
        check_grads(function, (first, jnp.asarray(ANCHORS, jnp.float64)), 1, modes=["rev"])


def both(boxes, anchors, codes):
    return ops.encode_boxes(boxes, anchors), ops.decode_boxes(codes, anchors, weights=WEIGHTS)


def test_both_are_the_same_under_transformations():
    codes = np.linspace(-2, 3, 24, dtype=np.float32).reshape(2, 3, 4)
    assert_same_under_transforms(both, BOXES, ANCHORS, codes)


def test_no_boxes():
    none = np.zeros((0, 4), np.float32)
    assert [x.shape for x in both(none, none, np.zeros((0, 3, 4), np.float32))] == [
        (0, 4),
        (0, 3, 4),
    ]


def test_bfloat16_is_computed_in_float32():
    boxes, anchors = jnp.asarray(BOXES, jnp.bfloat16), jnp.asarray(ANCHORS, jnp.bfloat16)
    got = ops.encode_boxes(boxes, anchors)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, ops.encode_boxes(BOXES, ANCHORS).astype(jnp.bfloat16))
    assert ops.decode_boxes(got, anchors).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.encode_boxes(BOXES, ANCHORS[:1]), "as many, got 2 and 1.*matches"),
        (lambda: ops.encode_boxes(BOXES[None], ANCHORS), r"boxes must be \[N, 4\].*vmap"),
        (
            functools.partial(ops.decode_boxes, np.zeros((2, 12), np.float32), ANCHORS),
            r"codes must be \[N, 4\] or \[N, K, 4\] for N = 2 anchors, got \[2, 12\]",
        ),
        (lambda: ops.decode_boxes(BOXES.astype(int), ANCHORS), "got codes int32, anchors float32"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
