import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden
from tests.meets import assert_meets

FILE = "ops/layers.npz"
TORCH = "torch.nn.functional."


def channels_last(x):
    return jnp.moveaxis(x, 1, -1)


def channels_first(x):
    return jnp.moveaxis(x, -1, 1)


@pytest.mark.parametrize(
    "case",
    golden.cases(FILE, TORCH + "conv1d", TORCH + "conv2d", TORCH + "conv3d"),
    ids=lambda c: c.name,
)
def test_conv_equals_torch(case):
    options = dict(case.arguments)
    if options.get("padding") == "same":
        options["padding"] = "SAME"
    options["strides"] = options.pop("stride", 1)

    def function(inputs):
        space = tuple(range(2, inputs["weight"].ndim))
        kernel = jnp.transpose(inputs["weight"], (*space, 1, 0))
        output = ops.conv(channels_last(inputs["input"]), kernel, **options)
        return (channels_first(output + inputs.get("bias", 0)),)

    assert_meets(case, function)


@pytest.mark.parametrize(
    "case", golden.cases(FILE, TORCH + "conv_transpose2d"), ids=lambda c: c.name
)
def test_conv_transpose_equals_torch(case):
    options = dict(case.arguments)
    options["strides"] = options.pop("stride", 1)

    def function(inputs):
        kernel = jnp.transpose(inputs["weight"], (2, 3, 0, 1))
        output = ops.conv_transpose(channels_last(inputs["input"]), kernel, **options)
        return (channels_first(output + inputs["bias"]),)

    assert_meets(case, function)


def test_linear_is_a_product_over_the_last_axis():
    draw = np.random.default_rng(0).standard_normal
    kernel = draw((3, 4), np.float32)
    for shape in ((3,), (2, 3), (2, 5, 3)):
        inputs = draw(shape, np.float32)
        np.testing.assert_allclose(ops.linear(inputs, kernel), inputs @ kernel, rtol=1e-6)


def test_linear_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"kernel must be \[C, D\] .* got \[3, 4\] and \[2, 5\]"):
        ops.linear(jnp.ones((2, 5)), jnp.ones((3, 4)))
    with pytest.raises(ValueError, match="one floating dtype, got inputs float32, kernel int32"):
        ops.linear(jnp.ones((2, 3)), jnp.ones((3, 4), int))


def test_transposed_convolution_is_the_adjoint_by_hand():
    # Dumoulin, Visin, "A guide to convolution arithmetic": a 3x3 kernel on 4x4 pixels.
    kernel = jnp.array([[1.0, 4, 1], [1, 4, 3], [3, 3, 1]])[:, :, None, None]
    x = jnp.array([[4.0, 5, 8, 7], [1, 8, 8, 8], [3, 6, 6, 4], [6, 5, 7, 8]])[None, :, :, None]
    y = jnp.array([[2.0, 1], [4, 4]])[None, :, :, None]
    matrix = jax.jacobian(lambda x: ops.conv(x, kernel).ravel())(x).reshape(4, 16)
    forward, back = ops.conv(x, kernel), ops.conv_transpose(y, kernel)
    again = ops.conv_transpose(forward, kernel)

    np.testing.assert_array_equal(matrix[0], [1, 4, 1, 0, 1, 4, 3, 0, 3, 3, 1, 0, 0, 0, 0, 0])
    assert np.linalg.matrix_rank(matrix) == 4
    np.testing.assert_array_equal(forward[0, :, :, 0], [[122, 148], [126, 134]])
    np.testing.assert_array_equal(
        back[0, :, :, 0], [[2, 9, 6, 1], [6, 29, 30, 7], [10, 29, 33, 13], [12, 24, 16, 4]]
    )
    assert float((forward * y).sum()) == float((x * back).sum()) == 1432
    np.testing.assert_array_equal(again[0, 0, :, 0], [122, 636, 714, 148])  # no inverse


@pytest.mark.parametrize("groups", [1, 2])
def test_conv_transpose_is_the_gradient_of_a_padded_strided_dilated_conv(groups):
    rng = np.random.default_rng(0)
    options = {"strides": (2, 3), "dilation": (2, 1), "groups": groups}
    options["padding"] = ((0, 2), (1, 0))
    image = jnp.asarray(rng.normal(size=(1, 8, 9, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 2, 4 // groups, 6)), jnp.float32)
    output, pullback = jax.vjp(lambda x: ops.conv(x, kernel, **options), image)
    swapped = jnp.swapaxes(kernel, 2, 3)  # [h, w, D, C / groups]
    assert output.shape == (1, 3, 3, 6)
    back = ops.conv_transpose(output, swapped, output_padding=(1, 2), **options)
    np.testing.assert_allclose(back, pullback(output)[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "out"),
    [
        (4, 3, 1, 0, 1, 2),
        (5, 4, 1, 2, 1, 6),
        (5, 3, 1, 1, 1, 5),
        (5, 3, 1, 2, 1, 7),
        (5, 3, 2, 0, 1, 2),
        (5, 3, 2, 1, 1, 3),
        (6, 3, 2, 1, 1, 3),
        (7, 3, 1, 0, 2, 3),
    ],
)
def test_sizes_follow_the_arithmetic_there_and_back(size, kernel, stride, padding, dilation, out):
    options = {"strides": stride, "padding": padding, "dilation": dilation}
    image = jax.ShapeDtypeStruct((1, size, size, 1), jnp.float32)
    weights = jax.ShapeDtypeStruct((kernel, kernel, 1, 1), jnp.float32)
    smaller = jax.eval_shape(lambda x, w: ops.conv(x, w, **options), image, weights)
    assert smaller.shape == (1, out, out, 1)
    # Only where the stride left a row over does the way back need output_padding.
    options["output_padding"] = 1 if (size, stride, padding) == (6, 2, 1) else 0
    back = jax.eval_shape(lambda x, w: ops.conv_transpose(x, w, **options), smaller, weights)
    assert back.shape == image.shape


def test_unet_sizes():
    # Ronneberger et al. 2015, figure 1: two 3x3 convolutions a level, down by pooling, up by 2x2.
    kernel = {size: jax.ShapeDtypeStruct((size, size, 1, 1), jnp.float32) for size in (2, 3)}

    def double(image):
        for _ in range(2):
            image = jax.eval_shape(ops.conv, image, kernel[3])
        return image

    image, sizes = jax.ShapeDtypeStruct((1, 572, 572, 1), jnp.float32), []
    for level in range(9):
        if 0 < level < 5:
            image = jax.eval_shape(lambda x: ops.max_pool(x, window=2), image)
        if level >= 5:
            image = jax.eval_shape(
                lambda x, w: ops.conv_transpose(x, w, strides=2), image, kernel[2]
            )
        image = double(image)
        sizes.append(image.shape[1])
    assert sizes == [568, 280, 136, 64, 28, 52, 100, 196, 388]


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 3, 4, 8), {"padding": 1}),
        ((1, 1, 4, 8), {}),
        ((2, 2, 4, 8), {"strides": 2}),
        ((3, 3, 1, 4), {"groups": 4}),
        ((3, 3, 2, 8), {"groups": 2}),
    ],
)
def test_an_empty_batch_has_gradients(kernel, options):
    def loss(image, kernel):
        return jnp.square(ops.conv(image, kernel, **options)).sum()

    empty = jnp.zeros((0, 8, 6, 4))
    by_image, by_kernel = jax.grad(loss, (0, 1))(empty, jnp.ones(kernel))
    assert by_image.shape == empty.shape
    np.testing.assert_array_equal(by_kernel, np.zeros(kernel))


def test_conv_keeps_bfloat16():
    image, kernel = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((3, 3, 2, 2), jnp.bfloat16)
    assert ops.conv(image, kernel).dtype == jnp.bfloat16
    np.testing.assert_array_equal(ops.conv_transpose(image, kernel)[0, 0, 0], [2, 2])


IMAGE, KERNEL = jnp.zeros((1, 5, 5, 4)), jnp.zeros((3, 3, 4, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.conv(IMAGE[0], KERNEL),
            r"image must be a batch.*got \[5, 5, 4\].*image\[None",
        ),
        (lambda: ops.conv(IMAGE, KERNEL[0, 0]), r"kernel must be \[h, w, in, out\]"),
        (lambda: ops.conv(IMAGE, KERNEL, groups=2), "image has 4 channels.*groups=2 needs 8"),
        (lambda: ops.conv(IMAGE, KERNEL.astype(jnp.bfloat16)), "image float32, kernel bfloat16"),
        (lambda: ops.conv(IMAGE, KERNEL, dilation=3), r"too small: 5 pixels.*no window of 7"),
        (lambda: ops.conv(IMAGE, KERNEL, strides=0), "strides must be at least 1"),
        (lambda: ops.conv(IMAGE, KERNEL, strides=(1, 2, 3)), "strides must be an int or 2 ints"),
        (lambda: ops.conv(IMAGE, KERNEL, strides=2.0), "strides must be an int or 2 ints.*got 2.0"),
        (lambda: ops.conv(IMAGE, KERNEL, padding="SAME", strides=2), "SAME.*strides of 1"),
        (lambda: ops.conv(IMAGE, KERNEL, padding="same"), '"SAME" or "VALID", got \'same\''),
        (lambda: ops.conv(IMAGE, KERNEL, padding=(1, -1)), "padding must be at least 0"),
        (lambda: ops.conv_transpose(IMAGE, KERNEL[:, :, :3]), "image has 4 channels.*needs 3"),
        (
            lambda: ops.conv_transpose(IMAGE, KERNEL, output_padding=1),
            "output_padding must be below",
        ),
        (lambda: ops.conv_transpose(IMAGE, KERNEL, padding="SAME"), "must be numbers, got 'SAME'"),
        (lambda: ops.conv_transpose(IMAGE, KERNEL, padding=4), r"padding \(\(4, 4\).*cuts off all"),
    ],
)
def test_conv_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
