import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden
from tests.meets import assert_meets


def deformed(arguments):
    """`deform_conv2d` between the reference's layout and ours."""
    options = {"strides": arguments.get("stride", 1)}
    options |= {name: arguments[name] for name in ("padding", "dilation") if name in arguments}

    def run(inputs):
        kernel = jnp.transpose(jnp.asarray(inputs["weight"]), (2, 3, 1, 0))
        maps = [inputs[name] for name in ("input", "offset", "mask") if name in inputs]
        maps = [jnp.moveaxis(jnp.asarray(array), 1, -1) for array in maps]

        def one(image, offset, *mask):
            return ops.deform_conv2d(image, offset, kernel, *mask, **options)

        output = jnp.moveaxis(jax.vmap(one)(*maps), -1, 1)
        if "bias" in inputs:
            output = output + jnp.asarray(inputs["bias"]).reshape(1, -1, 1, 1)
        return (output,)

    return run


@pytest.mark.parametrize(
    "case",
    golden.cases("ops/grid_sample.npz", "torchvision.ops.deform_conv2d"),
    ids=lambda case: case.name,
)
def test_deform_conv2d_equals_torchvision(case):
    assert_meets(case, deformed(case.arguments))


IMAGE = jax.random.normal(jax.random.key(0), (6, 7, 4))
KERNEL = jax.random.normal(jax.random.key(1), (3, 2, 2, 6))


def test_without_offsets_it_is_the_convolution():
    options = {"strides": (1, 2), "padding": ((1, 2), (0, 1)), "dilation": (2, 1)}
    want = ops.conv(IMAGE[None], KERNEL, groups=2, **options)[0]
    offset = jnp.zeros((*want.shape[:2], 2 * 2 * 6))
    got = ops.deform_conv2d(IMAGE, offset, KERNEL, **options)
    np.testing.assert_allclose(got, want, atol=1e-5)
    mask = jnp.full((*want.shape[:2], 2 * 6), 0.5)
    got = ops.deform_conv2d(IMAGE, offset, KERNEL, mask, **options)
    np.testing.assert_allclose(got, want / 2, atol=1e-5)


def test_one_offset_for_all_taps_moves_the_image():
    moves = jnp.broadcast_to(jnp.tile(jnp.array([1.0, -2]), 6), (4, 6, 12))
    kernel = jax.random.normal(jax.random.key(2), (3, 2, 4, 5))
    moved = ops.warp_flow(IMAGE, jnp.broadcast_to(jnp.array([-2.0, 1]), (6, 7, 2)))
    got = ops.deform_conv2d(IMAGE, moves, kernel)
    want = ops.conv(moved[None], kernel)[0]
    np.testing.assert_allclose(got[:, 2:], want[:, 2:], atol=1e-5)


def test_gradients_equal_finite_differences():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        shapes = [(4, 5, 4), (4, 5, 36), (3, 3, 2, 2), (4, 5, 18)]
        arrays = [jnp.asarray(rng.normal(size=shape)) for shape in shapes]
        weight = jnp.asarray(rng.normal(size=(4, 5, 2)))

        @jax.jit
        def value(*arrays):
            return (ops.deform_conv2d(*arrays, padding=1) * weight).sum()

        gradients = jax.grad(value, range(4))(*arrays)
        for i, (array, gradient) in enumerate(zip(arrays, gradients)):
            direction, step = rng.normal(size=array.shape), 1e-6
            ends = [
                value(*arrays[:i], array + sign * step * direction, *arrays[i + 1 :])
                for sign in (1, -1)
            ]
            want = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose((gradient * direction).sum(), want, rtol=1e-5)


OFFSET = jnp.zeros((4, 6, 12))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.deform_conv2d(IMAGE[None], OFFSET, KERNEL),
            r"image must be \[H, W, C\].*vmap",
        ),
        (lambda: ops.deform_conv2d(IMAGE, OFFSET, KERNEL[0]), r"kernel must be \[h, w, in, out\]"),
        (lambda: ops.deform_conv2d(IMAGE[..., :3], OFFSET, KERNEL), "does not fit the image's 3"),
        (lambda: ops.deform_conv2d(IMAGE, OFFSET, KERNEL[:, :, :0]), "does not fit the image's 4"),
        (lambda: ops.deform_conv2d(IMAGE, OFFSET[1:], KERNEL), r"offset must be \[4, 6, 12 G\]"),
        (lambda: ops.deform_conv2d(IMAGE, OFFSET, KERNEL, OFFSET), r"mask must be \[4, 6, 6\]"),
    ],
)
def test_deform_conv2d_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
