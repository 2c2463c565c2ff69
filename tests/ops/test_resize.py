import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import ops
from tests import golden
from tests.meets import assert_meets

TORCH = "torch.nn.functional."
FILE = "ops/interpolate.npz"


def resized(arguments):
    """`resize` between the reference's layout and ours; a batch is more channels."""
    options = {key: arguments[key] for key in ("mode", "antialias")}
    options["align_corners"] = bool(arguments["align_corners"])
    size, scale = arguments.get("size"), arguments.get("scale_factor")

    def run(inputs):
        batch, channels, height, width = inputs["input"].shape
        image = jnp.asarray(inputs["input"]).reshape(-1, height, width).transpose(1, 2, 0)
        if arguments.get("recompute_scale_factor"):
            sizes = [int(n * factor) for n, factor in zip((height, width), scale)]
            output = ops.resize(image, sizes, **options)
        else:
            output = ops.resize(image, size, scale=scale, **options)
        return (output.transpose(2, 0, 1).reshape(batch, channels, *output.shape[:2]),)

    return run


@pytest.mark.parametrize(
    "case", golden.cases(FILE, TORCH + "interpolate"), ids=lambda case: case.name
)
def test_resize_equals_torch(case):
    if case.meta.get("gradients"):
        assert_meets(case, resized(case.arguments))
    else:  # eager is quicker once
        (got,) = resized(case.arguments)(case.inputs)
        golden.assert_close(got, case.outputs["output"], case.error.get("output", 0))


SQUARE = jnp.array([[1.0, 2], [3, 4]])[..., None]


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"mode": "nearest"}, [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]),
        (
            {"mode": "bilinear"},
            [
                [1, 1.25, 1.75, 2],
                [1.5, 1.75, 2.25, 2.5],
                [2.5, 2.75, 3.25, 3.5],
                [3, 3.25, 3.75, 4],
            ],
        ),
        (
            {"mode": "bilinear", "align_corners": True},
            1 + 2 / 3 * np.arange(4)[:, None] + 1 / 3 * np.arange(4),
        ),
        (
            {"mode": "bicubic"},
            [[0.683594, 1.015625, 1.5625, 1.894531], [1.347656, 1.679688, 2.226562, 2.558594]],
        ),
        ({"mode": "bicubic", "align_corners": True}, [[1, 1.314815, 1.685185, 2]]),
    ],
)
def test_doubling_by_hand(options, want):
    got = ops.resize(SQUARE, 4, **options)[..., 0]
    np.testing.assert_allclose(got[: len(want)], want, atol=1e-6)
    np.testing.assert_allclose(got, 5 - got[::-1, ::-1], atol=1e-6)


def enlarged(image, factor):
    """By the transposed convolution of FCN."""
    kernel = ops.bilinear_kernel(factor, image.shape[-1])
    padding = (kernel.shape[0] - factor) // 2
    return ops.conv_transpose(image[None], kernel, strides=factor, padding=padding)[0]


def test_enlarging_by_a_transposed_convolution_darkens_the_borders():
    want = [[0.5625, 0.9375, 1.3125, 1.125], [1.125, 1.75, 2.25, 1.875]]
    np.testing.assert_allclose(enlarged(SQUARE, 2)[:2, :, 0], want, atol=1e-6)


@pytest.mark.parametrize("case", golden.cases(FILE, "bilinear_kernel"), ids=lambda case: case.name)
def test_bilinear_kernel_equals_the_formula(case):
    got = ops.bilinear_kernel(**case.arguments)
    golden.assert_close(got.transpose(2, 3, 0, 1), case.outputs["output"])
    image = jax.random.normal(jax.random.key(0), (4, 5, 2))
    factor = case.arguments["factor"]
    inside = slice(factor, -factor)
    # Away from the borders it is what `resize` does.
    want = ops.resize(image, scale=factor)
    got = enlarged(image, factor)[: want.shape[0], : want.shape[1]]
    np.testing.assert_allclose(got[inside, inside], want[inside, inside], atol=1e-5)


def test_resizing_to_the_same_size_changes_no_bit():
    image = jax.random.normal(jax.random.key(0), (5, 7, 3))
    for mode in ("nearest", "nearest-exact", "area", "bilinear", "bicubic"):
        np.testing.assert_array_equal(ops.resize(image, (5, 7), mode=mode), image)
        np.testing.assert_array_equal(ops.resize(image, scale=1, mode=mode), image)
    for mode in ("bilinear", "bicubic"):
        for option in ("align_corners", "antialias"):
            got = ops.resize(image, (5, 7), mode=mode, **{option: True})
            np.testing.assert_array_equal(got, image)


def slow_line(line, size, mode):
    """One number after the other, by size, the borders meeting."""
    n = len(line)
    values = []
    for i in range(size):
        place = (i + 0.5) * n / size - 0.5
        if mode == "area":
            low, high = i * n // size, -(-(i + 1) * n // size)
            values.append(np.mean(line[low:high]))
            continue
        if mode == "bilinear":
            place = max(place, 0)
        low, total, a = int(np.floor(place)), 0.0, -0.75
        for tap in range(low - 1, low + 3):
            x = abs(place - tap)
            if mode == "bilinear":
                weight = max(1 - x, 0)
            elif x < 1:
                weight = (a + 2) * x**3 - (a + 3) * x**2 + 1
            else:
                weight = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0
            total += weight * line[min(max(tap, 0), n - 1)]
        values.append(total)
    return values


@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    st.integers(0, 2**16),
    st.integers(1, 4),
    st.sampled_from((1, 3, 40)),
    st.sampled_from(("area", "bilinear", "bicubic")),
)
def test_resize_equals_the_slow_form(seed, height, width, mode):
    image = np.random.default_rng(seed).uniform(-1, 1, (3, 5)).astype(np.float32)
    got = ops.resize(jnp.asarray(image)[..., None], (height, width), mode=mode)[..., 0]
    wide = np.array([slow_line(row, width, mode) for row in image])
    want = np.array([slow_line(column, height, mode) for column in wide.T]).T
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 40), (40, 1)])  # by taps, and by matrix products
def test_the_gradient_is_the_adjoint(size):
    keys = jax.random.split(jax.random.key(0))
    image = jax.random.normal(keys[0], (6, 70, 2))
    cotangent = jax.random.normal(keys[1], (*size, 2))

    def value(image):
        return (ops.resize(image, size, mode="bicubic", antialias=True) * cotangent).sum()

    # <A x, y> = <x, A' y>; the map is linear, so its gradient has the gradient 0.
    gradient = jax.grad(value)(image)
    np.testing.assert_allclose((gradient * image).sum(), value(image), rtol=1e-4, atol=1e-4)
    second = jax.grad(lambda x: (jax.grad(value)(x) * x).sum())(image)
    np.testing.assert_allclose(second, gradient, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 40), (40, 1)])  # by taps, and by matrix products
def test_forward_mode_resizes_the_tangent(size):
    images, tangents = jax.random.normal(jax.random.key(0), (2, 3, 6, 70, 2))
    resize = functools.partial(ops.resize, size=size, mode="bicubic", antialias=True)
    tangent = jax.jvp(resize, (images[0],), (tangents[0],))[1]
    np.testing.assert_allclose(tangent, resize(tangents[0]), atol=1e-6)

    def product(image, tangent):
        gradient = jax.grad(lambda x: (resize(x) ** 3).sum())
        return jax.jvp(jax.checkpoint(gradient), (image,), (tangent,))[1]

    # That gradient is quadratic, so (g(x + t) - g(x - t)) / 2 is its derivative, exactly.
    gradient = jax.grad(lambda x: (resize(x) ** 3).sum())
    want = [(gradient(x + t) - gradient(x - t)) / 2 for x, t in zip(images, tangents)]
    got = jax.vmap(product, (0, 3), 3)(images, jnp.moveaxis(tangents, 0, 3))
    np.testing.assert_allclose(jnp.moveaxis(got, 3, 0), want, atol=1e-4)


def test_the_jacobian_is_the_same_in_both_modes():
    for mode in ("area", "bilinear", "bicubic"):
        resize = functools.partial(ops.resize, scale=1.5, mode=mode)
        image = jnp.zeros((3, 2, 1))
        np.testing.assert_array_equal(jax.jacfwd(resize)(image), jax.jacrev(resize)(image))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_pixels_are_those_of_whole_numbers(mode):
    double = {"nearest": 0, "nearest-exact": 1}[mode]  # twice the place in an output pixel
    for size, result in ((2, 98), (18, 66), (2, 49), (4, 49), (6, 47), (66, 18), (7, 7)):
        line = np.arange(size)[None, :, None]
        want = [(2 * i + double) * size // (2 * result) for i in range(result)]
        got = ops.resize.__wrapped__(line, (1, result), mode=mode)  # no program for each
        np.testing.assert_array_equal(got[0, :, 0], want)


def test_nearest_by_a_scale_doubles_and_keeps_as_torch_does():
    line = np.arange(10)[None, :, None]
    for scale, want in ((1.0458, np.arange(10)), (2.04, np.arange(20) // 2)):
        got = ops.resize(line, scale=(1, scale), mode="nearest")
        np.testing.assert_array_equal(got[0, :, 0], want)


def test_a_pixel_that_is_nan_stays_where_it_is():
    image = jnp.zeros((2, 6, 1)).at[:, 0].set(jnp.nan)
    for options in ({"mode": "area"}, {"antialias": True}, {"mode": "bicubic"}):
        got = ops.resize(image, (2, 4), **options)
        assert np.isfinite(got[:, 3]).all()


def test_large_photographs_need_no_large_tables():
    resizing = importlib.import_module("jaxcv.ops.resize")  # a function too has this name
    axis = resizing._Axis(12_000, 9000, 12 / 9, "bicubic", False, True)
    indices, weights = resizing._taps(axis)
    assert indices.nbytes + weights.nbytes < 2e6  # as a matrix: 860 MB
    np.testing.assert_allclose(weights.sum(axis=0), 1)


def test_nearest_copies_labels_and_bfloat16_is_summed_in_float32():
    labels = jnp.array([[0, 255], [3, 7]])[..., None]
    got = ops.resize(labels, scale=2, mode="nearest")
    assert got.dtype == labels.dtype
    np.testing.assert_array_equal(got[::2, 1::2], labels)
    # 1/256 is lost when added to 1 in bfloat16, 256 times it is not.
    image = jnp.full((16, 16, 1), 1 / 256, jnp.bfloat16).at[0, 0].set(1)
    got = ops.resize(image, 1, mode="area")
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(got), (1 + 255 / 256) / 256, rtol=1 / 256)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.resize(SQUARE[None], 4), r"image must be \[H, W, C\].*vmap"),
        (lambda: ops.resize(SQUARE, 4, mode="bicubik"), "mode must be one of.*mean 'bicubic'"),
        (lambda: ops.resize(SQUARE), "give one of size and scale, got size=None"),
        (lambda: ops.resize(SQUARE, 4, scale=2), "give one of size and scale, got size=4"),
        (lambda: ops.resize(SQUARE, scale=0.1), r"must have pixels, got a size of \(0, 0\)"),
        (lambda: ops.resize(SQUARE.astype(int), 4), "image must be floating for mode 'bilinear'"),
        (lambda: ops.resize(SQUARE, 4, mode="area", antialias=True), "are not for mode 'area'"),
        (lambda: ops.resize(SQUARE, 4, align_corners=True, antialias=True), "exclude each other"),
        (lambda: ops.resize(SQUARE, (3, 4, 5)), "size must be an int or 2 ints"),
        (lambda: ops.resize(SQUARE, (3.5, 4)), "size must be an int or 2 ints"),
        (lambda: ops.resize(SQUARE, scale=(2, 2, 9)), "scale must be a number above 0 or a pair"),
        (lambda: ops.bilinear_kernel(0, 1), "factor must be an int of at least 1, got 0"),
        (lambda: ops.bilinear_kernel(1.5, 1), "factor must be an int of at least 1, got 1.5"),
    ],
)
def test_resize_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
