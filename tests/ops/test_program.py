import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from jaxcv.ops.program import one_program
from tests.xla import compiled_by

IMAGE = np.linspace(0, 1, 6 * 7 * 2, dtype=np.float32).reshape(6, 7, 2)
BOXES = np.array([[0, 0, 4, 5], [1, 2, 6, 4]], np.float32)
MASK = IMAGE[..., 0] > 0.3


@one_program("factor", "shape")
def stretched(array, factor=1, *, shape=(1, 1)):
    """Stretched."""
    if len(shape) != 2:
        raise ValueError(f"shape must be a pair, got {shape}.")
    return jnp.sum(array + 1) * factor, shape


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.box_iou(BOXES, BOXES),
        lambda: ops.grid_sample(IMAGE, IMAGE, mode="bicubic"),
        lambda: ops.paste_masks(np.ones((2, 4, 4), np.float32), BOXES, [6, 7]),
        lambda: ops.distance_transform(MASK, sampling=[1.0, 2.0]),
        lambda: ops.crop_and_resize(IMAGE, BOXES, 3),
        lambda: ops.linear_svm(BOXES, np.array([0, 1]), num_classes=2),
    ],
)
def test_an_op_outside_of_jit_is_one_program_compiled_once(call):
    jax.clear_caches()
    assert compiled_by(call) == 1
    assert compiled_by(call) == 0


def test_options_are_given_in_any_form_that_the_op_takes():
    for option in ([2, (3, 4)], (2, [3, 4]), (2, np.array([3, 4]))):
        assert stretched(np.ones(3), shape=option)[1] == (2, (3, 4))
    assert stretched(np.ones(3), 2)[0] == stretched(np.ones(3), factor=jnp.array(2))[0] == 12
    assert jax.jit(stretched)(np.ones(3), 3)[0] == 18


@pytest.mark.parametrize(
    ("op", "arrays"),
    [
        (ops.grid_sample, (IMAGE, IMAGE[0])),
        (ops.affine_grid, (IMAGE[:2, :3, 0], (2, 3))),
        (ops.warp_flow, (IMAGE, IMAGE)),
        (ops.warp_disparity, (IMAGE, IMAGE[..., 0])),
        (ops.interpolate_displacement, (IMAGE[:3, :3], IMAGE[0], (4, 5))),
        (ops.deform_conv2d, (IMAGE, IMAGE, np.ones((1, 1, 2, 3), np.float32))),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_lists_are_taken_for_arrays(op, arrays):
    lists = [array.tolist() if isinstance(array, np.ndarray) else array for array in arrays]
    np.testing.assert_array_equal(op(*lists), op(*arrays))


def test_errors_name_the_op_and_its_own_checks_speak():
    for call, message in (
        (lambda: stretched(np.ones(3), scale=2), "got an unexpected keyword argument 'scale'"),
        (lambda: stretched(np.ones(3), 2, (1, 1)), "too many positional arguments"),
        (lambda: stretched(), "missing a required argument: 'array'"),
    ):
        with pytest.raises(TypeError, match=rf"^stretched\(\) {message}$"):
            call()
    with pytest.raises(ValueError, match=r"shape must be a pair, got \(3,\)"):
        stretched(np.ones(3), shape=[3])
    image = np.ones((1, 4, 4, 1), np.float32)
    assert ops.max_pool(image, window=(2, 2)).shape == (1, 2, 2, 1)
    with pytest.raises(ValueError, match=r"window must be an int or 2 ints.*\(2\.0, 2\.0\)"):
        ops.max_pool(image, window=(2.0, 2.0))  # which is equal to the one before


def test_under_jit_what_is_compiled_is_the_function_itself():
    assert stretched.__doc__ == "Stretched."
    texts = [
        jax.jit(lambda a, op=op: op(a, 2)[0]).lower(np.ones(3)).as_text()
        for op in (stretched, stretched.__wrapped__)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.resize(IMAGE * np.float32(np.nan), 3),
        lambda: ops.conv(IMAGE[None] * np.float32(np.nan), np.ones((2, 2, 2, 1), np.float32)),
        lambda: ops.max_unpool(
            np.full((1, 1, 1, 1), np.nan, np.float32),
            np.zeros((1, 1, 1, 1), np.int32),
            output_size=(2, 2),
            window=2,
        ),
    ],
)
def test_the_hunt_for_nan_goes_into_primitives(call):
    # There JAX calls what a program is made of, one after the other.
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        call()
