import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden
from tests.meets import assert_meets

TORCH = "torch.nn.functional."


def cases(function):
    """Those of both files that ask for no more than we offer."""
    found = golden.cases("ops/layers.npz", TORCH + function) + golden.cases(
        "ops/interpolate.npz", TORCH + function
    )
    left_out = {"dilation", "divisor_override"}
    return [case for case in found if not left_out & set(getattr(case, "arguments", ()))]


def pooled(function, **options):
    """`function` between the reference's layout and ours."""

    def run(inputs):
        output = function(jnp.moveaxis(inputs["input"], 1, -1), **options)
        return (jnp.moveaxis(output, -1, 1),)

    return run


def options_of(case):
    options = dict(case.arguments)
    options.pop("return_indices", None)
    return {"window": options.pop("kernel_size"), "strides": options.pop("stride", None), **options}


@pytest.mark.parametrize("case", cases("max_pool2d"), ids=lambda c: c.name)
def test_max_pool_equals_torch(case):
    outputs = ["output" if "output" in case.outputs else "output0"]
    assert_meets(case, pooled(ops.max_pool, **options_of(case)), outputs)


@pytest.mark.parametrize("case", cases("avg_pool2d"), ids=lambda c: c.name)
def test_avg_pool_equals_torch(case):
    assert_meets(case, pooled(ops.avg_pool, **options_of(case)))


@pytest.mark.parametrize("case", cases("adaptive_avg_pool2d"), ids=lambda c: c.name)
def test_adaptive_avg_pool_equals_torch(case):
    assert_meets(case, pooled(ops.adaptive_avg_pool, **case.arguments))


def test_the_gradient_of_equal_maxima_goes_to_the_first_in_row_order():
    image = jnp.array([[1.0, 3, 3], [3, 3, 0]])[None, :, :, None]
    gradient = jax.grad(lambda x: ops.max_pool(x, window=2, strides=1).sum())(image)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 2, 0], [0, 0, 0]])


def test_avg_pool_counts_padding_but_not_what_ceil_mode_adds():
    ones = jnp.ones((1, 4, 4, 1))
    options = {"window": 3, "strides": 2, "padding": 1, "ceil_mode": True}
    # Rows -1..1, 1..3, 3..5: of the last window row 4 is padding and row 5 beyond it.
    per_axis = np.array([2 / 3, 1, 1 / 2])
    got = ops.avg_pool(ones, **options)[0, :, :, 0]
    np.testing.assert_allclose(got, np.outer(per_axis, per_axis), rtol=1e-6)
    got = ops.avg_pool(ones, count_include_pad=False, **options)
    np.testing.assert_array_equal(got, np.ones((1, 3, 3, 1)))


def test_max_pool_pads_one_side_alone():
    # Tiny YOLO's last pooling keeps the size with a 2x2 window.
    image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    got = ops.max_pool(image, window=2, strides=1, padding="SAME")
    np.testing.assert_array_equal(got[0, :, :, 0], [[4, 5, 5], [7, 8, 8], [7, 8, 8]])


def test_avg_pool_of_bfloat16_is_summed_in_float32():
    # 1/256 is lost when added to 1 in bfloat16, 256 times it is not.
    image = jnp.full((1, 16, 16, 1), 1 / 256, jnp.bfloat16).at[0, 0, 0, 0].set(1)
    got = ops.avg_pool(image, window=16)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(got), (1 + 255 / 256) / 256, rtol=1 / 256)
    np.testing.assert_array_equal(got, ops.adaptive_avg_pool(image, output_size=1))


IMAGE = jnp.zeros((1, 5, 5, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.max_pool(IMAGE[0], window=2), r"image must be \[B, H, W, C\].*image\[None\]"),
        (lambda: ops.max_pool(IMAGE.astype(int), window=2), "floating dtype, got image int32"),
        (lambda: ops.max_pool(IMAGE, window=6), "too small: 5 pixels.*no window of 6"),
        (lambda: ops.avg_pool(IMAGE, window=3, padding=2), r"at most half of window \(3, 3\)"),
        (lambda: ops.avg_pool(IMAGE, window=0), "window must be at least 1"),
        (lambda: ops.adaptive_avg_pool(IMAGE, output_size=0), "output_size must be at least 1"),
    ],
)
def test_pooling_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
