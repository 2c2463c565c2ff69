import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import ops
from jaxcv.ops import bins
from tests import golden
from tests.ops.transforms import assert_same_under_transforms

TORCHVISION = "torchvision.ops."
# What costs here is compiling.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def cases(function):
    return golden.cases("ops/roi.npz", TORCHVISION + function)


@functools.partial(quick_jit, static_argnums=(0, 3, 4))
def jitted(function, image, boxes, size, options, scale):
    """Between the reference's layout and ours, compiled once for all scales."""
    image = jnp.moveaxis(image, 0, -1)
    output = function(image, boxes, size, spatial_scale=scale, **dict(options))
    return jnp.moveaxis(output, -1, 1)


def assert_equals_torchvision(case, function):
    """`function` on every image of the case: its output, and the gradient where the case has one."""
    options = dict(case.arguments)
    size = options.pop("output_size")
    size = tuple(size) if isinstance(size, list) else size
    scale = options.pop("spatial_scale")
    # Both are adaptive: no second compilation.
    if options.get("sampling_ratio") == 0:
        options["sampling_ratio"] = -1
    boxes = case.inputs["boxes"]

    def run(images):
        output = jnp.zeros(case.outputs["output"].shape)
        for i in range(len(images)):
            (own,) = np.nonzero(boxes[:, 0] == i)
            arguments = (images[i], boxes[own, 1:], size, tuple(sorted(options.items())), scale)
            output = output.at[own].set(jitted(function, *arguments))
        return output

    output, pullback = jax.vjp(run, case.inputs["input"])
    want = np.nan_to_num(case.outputs["output"])  # 0 samples: 0 / 0 there, 0 here
    golden.assert_close(output, want, case.error["output"])
    if "grad_input" in case.outputs:
        gradient = pullback(jnp.asarray(case.inputs["cotangent"]))[0]
        golden.assert_close(gradient, case.outputs["grad_input"], case.error["grad_input"])


@pytest.mark.parametrize("case", cases("roi_align"), ids=lambda c: c.name)
def test_roi_align_equals_torchvision(case):
    assert_equals_torchvision(case, ops.roi_align)


@pytest.mark.parametrize("case", cases("ps_roi_align"), ids=lambda c: c.name)
def test_ps_roi_align_equals_torchvision(case):
    assert_equals_torchvision(case, ops.ps_roi_align)


@pytest.mark.parametrize("case", cases("ps_roi_pool"), ids=lambda c: c.name)
def test_ps_roi_pool_equals_torchvision(case):
    assert_equals_torchvision(case, ops.ps_roi_pool)


@pytest.mark.parametrize(
    "case", golden.cases("ops/roi.npz", "multiscale_roi_align"), ids=lambda c: c.name
)
def test_multiscale_roi_align_equals_torchvision(case):
    options = dict(case.arguments)
    size = options.pop("output_size")
    del options["image_size"]
    options["spatial_scales"] = tuple(case.outputs["scales"].tolist())

    def run(maps):
        maps = [jnp.moveaxis(image[0], 0, -1) for image in maps]
        output = ops.multiscale_roi_align(maps, case.inputs["boxes"], size, **options)
        return jnp.moveaxis(output, -1, 1)

    maps = [case.inputs[f"feature{i}"] for i in range(4)]
    if "cotangent" not in case.inputs:
        golden.assert_close(quick_jit(run)(maps), case.outputs["output"], case.error["output"])
        return
    output, gradients = quick_jit(lambda maps, g: _value_and_pullback(run, maps, g))(
        maps, case.inputs["cotangent"]
    )
    golden.assert_close(output, case.outputs["output"], case.error["output"])
    for name in ("feature0", "feature2"):
        want, error = case.outputs[f"grad_{name}"], case.error[f"grad_{name}"]
        golden.assert_close(gradients[int(name[-1])], want, error)


def _value_and_pullback(function, x, cotangent):
    output, pullback = jax.vjp(function, x)
    return output, pullback(cotangent)[0]


MAP = jnp.array(
    [
        [0.1, 0.3, 0.2, 0.3, 0.2, 0.6, 0.8, 0.9],
        [0.4, 0.5, 0.1, 0.4, 0.7, 0.1, 0.4, 0.3],
        [0.2, 0.1, 0.3, 0.8, 0.6, 0.2, 0.1, 0.1],
        [0.4, 0.6, 0.2, 0.1, 0.3, 0.6, 0.1, 0.2],
        [0.1, 0.8, 0.3, 0.3, 0.5, 0.3, 0.3, 0.3],
        [0.2, 0.9, 0.4, 0.5, 0.1, 0.1, 0.1, 0.2],
        [0.3, 0.1, 0.8, 0.6, 0.3, 0.3, 0.6, 0.5],
        [0.5, 0.5, 0.2, 0.1, 0.1, 0.2, 0.1, 0.2],
    ]
)[:, :, None]
REGION = jnp.array([[0.6, 2.3, 6.6, 7.3]])


@pytest.mark.parametrize(
    ("options", "want"),
    [
        # A lecture's slide prints .88 .6 / .9 .6, which is the maximum of the bilinear surface.
        ({"reduction": "max"}, [0.88, 0.6, 0.9, 0.6]),
        ({"sampling_ratio": 2}, [0.393469, 0.304219, 0.442813, 0.231250]),
        # The same region where pixel i covers i to i + 1, for which 0.5 is added to its corners.
        ({"sampling_ratio": 2, "aligned": True}, [0.393469, 0.304219, 0.442813, 0.231250]),
        ({"sampling_ratio": 0}, [0.402981, 0.308296, 0.445259, 0.243463]),
    ],
)
def test_roi_align_of_the_slides_map(options, want):
    align = quick_jit(functools.partial(ops.roi_align, output_size=2, **options))
    region = REGION + 0.5 * options.get("aligned", False)
    np.testing.assert_allclose(align(MAP, region).ravel(), want, atol=1e-6)


def slow_roi_align(image, box, size, ratio, aligned):
    """The definition, sample by sample, in float64."""

    def value(y, x):
        if not (-1 <= y <= image.shape[0] and -1 <= x <= image.shape[1]):
            return np.zeros(image.shape[-1])
        y, x = np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)
        i, j = int(y), int(x)
        i1, j1 = min(i + 1, image.shape[0] - 1), min(j + 1, image.shape[1] - 1)
        top = image[i, j] * (1 - x + j) + image[i, j1] * (x - j)
        bottom = image[i1, j] * (1 - x + j) + image[i1, j1] * (x - j)
        return top * (1 - y + i) + bottom * (y - i)

    x1, y1, x2, y2 = box - 0.5 if aligned else box
    height, width = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
    bin_height, bin_width = height / size[0], width / size[1]
    rows = ratio if ratio > 0 else math.ceil(bin_height)
    columns = ratio if ratio > 0 else math.ceil(bin_width)
    output = np.zeros((*size, image.shape[-1]))
    for p in range(size[0]):
        for q in range(size[1]):
            for i in range(rows):
                for j in range(columns):
                    y = y1 + (p + (i + 0.5) / rows) * bin_height
                    x = x1 + (q + (j + 0.5) / columns) * bin_width
                    output[p, q] += value(y, x) / (rows * columns)
    return output


COORDINATE = st.floats(-20, 30, width=32).map(lambda x: round(x, 2) + 0.003)
ALIGN = {
    ratio: quick_jit(
        functools.partial(ops.roi_align, output_size=(2, 3), sampling_ratio=ratio, aligned=True)
    )
    for ratio in (-1, 2)
}


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[COORDINATE] * 4), min_size=4, max_size=4))
def test_roi_align_is_its_definition(boxes):
    image = np.random.default_rng(0).normal(size=(8, 11, 2))
    boxes = np.array(boxes)
    for ratio, align in ALIGN.items():
        got = align(image.astype(np.float32), boxes.astype(np.float32))
        want = [slow_roi_align(image, box, (2, 3), ratio, aligned=True) for box in boxes]
        np.testing.assert_allclose(got, want, atol=2e-5)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[st.floats(1, 6, width=32)] * 4), min_size=4, max_size=4))
def test_roi_align_of_an_affine_function_is_its_value_at_the_centre(boxes):
    boxes = np.sort(np.reshape(boxes, (4, 2, 2)), axis=1).reshape(4, 4)
    y, x = np.mgrid[0:8, 0:11]
    image = np.stack([y, 2 * x - 3 * y + 1], axis=-1)
    centre = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) * 0.5 - 0.5
    size = boxes[:, 2:] - boxes[:, :2]
    at_y = centre[:, 1, None] + (np.arange(2) - 0.5) / 2 * size[:, 1, None]
    at_x = centre[:, 0, None] + (np.arange(3) - 1) / 3 * size[:, 0, None]
    at_y, at_x = np.broadcast_arrays(at_y[:, :, None], at_x[:, None])
    want = np.stack([at_y, 2 * at_x - 3 * at_y + 1], axis=-1)
    got = ALIGN[2](image.astype(np.float32), boxes.astype(np.float32))
    np.testing.assert_allclose(got, want, atol=2e-5)


BOXES = np.float32(
    [[1, 1, 4, 5], [-3, 2, 30, 9], [2, 2, 2, 2], [7, 6, 3, 1], [-40, -40, -30, -30], [0, 0, 11, 8]]
)


@pytest.mark.parametrize("ratio", [0, 2])
def test_the_form_for_a_gpu_agrees_with_that_for_a_cpu(ratio):
    random = np.random.default_rng(1)
    maps = tuple(jnp.float32(random.normal(size=(s, s + 3, 2))) for s in (8, 4))
    starts, extents = jnp.float32(BOXES[:, 1::-1]), jnp.float32(BOXES[:, 2:] - BOXES[:, :2])
    level = jnp.array([0, 1, 0, 0, 0, 1])
    sizes = jnp.float32([[8, 11], [4, 7]])[level]
    samples = jnp.full((6,), 2.0) if ratio else jnp.ceil(jnp.abs(extents).max(1) / 2)
    rows, columns = (
        bins.regular_axis(starts[:, i], extents[:, i], 2, samples, sizes[:, i, None])
        for i in range(2)
    )
    valid = jnp.arange(6) != 2
    plan = bins.Bins(rows, columns, level, valid, jnp.zeros(4, jnp.int32))
    most = 4 if ratio else None
    by_box = quick_jit(functools.partial(bins._means_by_box, most=most))(maps, plan)
    np.testing.assert_allclose(bins._means_at_once(maps, plan), by_box, atol=1e-6)
    g = jnp.float32(random.normal(size=by_box.shape))
    by_box = quick_jit(functools.partial(bins._gradients_by_box, most=most))(maps, plan, g)
    for got, want in zip(bins._gradients_at_once(maps, plan, g), by_box):
        np.testing.assert_allclose(got, want, atol=1e-5)


def pyramid(first, second, boxes):
    maps = (first, second)
    return ops.multiscale_roi_align(maps, boxes, 2, spatial_scales=(1, 1 / 2), canonical_scale=64)


@pytest.mark.parametrize(
    "function",
    [
        lambda image, boxes: ops.roi_align(image, boxes, 2, sampling_ratio=2),
        lambda image, boxes: ops.roi_align(image, boxes, 2, max_sampling_ratio=8),
        lambda image, boxes: ops.roi_align(image, boxes, 2, reduction="max"),
        lambda image, boxes: ops.ps_roi_align(image, boxes, 2, sampling_ratio=1),
        lambda image, boxes: ops.ps_roi_pool(image, boxes, 2),
        lambda image, boxes: pyramid(image, image[::2, ::2], boxes),
        lambda image, boxes: jax.grad(
            lambda image: (ops.roi_align(image, boxes, 2, sampling_ratio=2) ** 2).sum()
        )(image),
    ],
    ids=["fixed", "adaptive", "max", "ps_roi_align", "ps_roi_pool", "multiscale", "gradient"],
)
def test_all_transformations_agree(function):
    image = np.random.default_rng(2).normal(size=(8, 11, 4)).astype(np.float32)
    boxes = np.float32([[1.2, 1.1, 4.3, 4.7], [0.3, 2.2, 9.1, 6.9]])
    assert_same_under_transforms(function, image, boxes)


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_gradient_by_the_map_is_that_of_finite_differences(reduction):
    with jax.enable_x64(True):
        random = np.random.default_rng(3)
        image, direction = random.normal(size=(2, 6, 7, 2))
        boxes = np.array([[0.7, 0.9, 5.3, 4.1], [-2.0, 1.0, 3.0, 9.0], [2, 2, 2, 2]])

        @jax.jit
        def value(image):
            return (ops.roi_align(image, boxes, 2, reduction=reduction) ** 2).sum()

        slope = (value(image + 1e-6 * direction) - value(image - 1e-6 * direction)) / 2e-6
        gradient = jax.grad(value)(image)
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def test_no_boxes_give_an_empty_output_and_a_gradient_of_zeros():
    image = jnp.ones((4, 5, 2))
    total = lambda image: ops.roi_align(image, jnp.zeros((0, 4)), (2, 3), sampling_ratio=1)  # noqa: E731
    output, pullback = jax.vjp(total, image)
    assert output.shape == (0, 2, 3, 2)
    np.testing.assert_array_equal(pullback(output)[0], jnp.zeros_like(image))


def test_a_box_that_is_not_finite_gives_nan_and_no_gradient():
    image = jnp.ones((4, 5, 1))
    boxes = jnp.array([[0, 0, 3, 3], [jnp.nan, 0, 3, 3], [0, 0, jnp.inf, 3]])
    output, pullback = jax.vjp(lambda x: ops.roi_align(x, boxes, 1, sampling_ratio=1), image)
    np.testing.assert_array_equal(output.ravel(), [1, np.nan, np.nan])
    # The first box's sample lies at (1.5, 1.5).
    want = np.zeros((4, 5))
    want[1:3, 1:3] = 0.25
    np.testing.assert_array_equal(pullback(jnp.ones_like(output))[0][..., 0], want)


def test_a_box_that_needs_too_many_samples_is_an_error_or_nan():
    image, boxes = jnp.ones((8, 8, 1)), jnp.array([[0.0, 0, 2, 2], [0, 0, 2, 7]])
    align = functools.partial(ops.roi_align, output_size=2, max_sampling_ratio=2)
    with pytest.raises(ValueError, match="max_sampling_ratio is 2, but box 1 needs 4 samples"):
        align(image, boxes)
    output = jax.jit(align)(image, boxes)
    np.testing.assert_array_equal(np.isnan(output).all((1, 2, 3)), [False, True])


def test_bfloat16_is_computed_in_float32():
    # 1 / 256 is lost where it is added to 1 in bfloat16, sample by sample.
    image = jnp.full((16, 16, 1), 1 / 256, jnp.bfloat16).at[0, 0].set(1)
    box = jnp.array([[0.0, 0, 16, 16]])
    output = ops.roi_align(image, box, 1, aligned=True)
    assert output.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(output), (1 + 255 / 256) / 256, rtol=1 / 256)


def test_an_exact_number_of_pixels_takes_as_many_samples():
    # 14 pixels in 7 bins are 2 each, though 14 * float32(1 / 7) is more than 2.
    image = jnp.arange(16.0)[None, :, None] ** 2
    got = jax.jit(lambda b: ops.roi_align(image, b, (1, 7), aligned=True))(
        jnp.array([[0.5, 0, 14.5, 1]])
    )
    # Samples at 0.5 + 2q and 1.5 + 2q, where the interpolated square is 1/4 more than the square.
    q = 2 * np.arange(7)
    want = ((0.5 + q) ** 2 + (1.5 + q) ** 2) / 2 + 0.25
    np.testing.assert_allclose(got.ravel(), want, rtol=1e-6)


def test_a_pyramid_takes_each_box_from_the_level_of_its_size():
    maps = [jnp.full((32 >> i, 32 >> i, 1), i) + 0.0 for i in range(3)]
    sides = np.float32([0, 3, 31.9, 32, 63.9, 64, 120])
    boxes = jnp.asarray(np.stack([0 * sides, 0 * sides, sides, sides], axis=1))
    got = ops.multiscale_roi_align(
        maps, boxes, 1, spatial_scales=(1 / 4, 1 / 8, 1 / 16), canonical_scale=64
    )
    np.testing.assert_array_equal(got.ravel(), [0, 0, 0, 1, 1, 2, 2])


IMAGE = jnp.zeros((5, 5, 4))
BOX = jnp.zeros((1, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.roi_align(IMAGE[None], BOX, 2), r"features must be \[H, W, C\].*vmap"),
        (lambda: ops.roi_align(IMAGE, BOX[0], 2), r"boxes must be \[N, 4\].*got \[4\]"),
        (lambda: ops.roi_align(IMAGE, BOX.astype(int), 2), "floating dtype, got boxes int32"),
        (lambda: ops.roi_align(IMAGE, BOX, (2, 0)), "output_size must be at least 1"),
        (lambda: ops.roi_align(IMAGE, BOX, 2, reduction="sum"), 'must be "mean" or "max"'),
        (lambda: ops.roi_align(IMAGE, BOX, 2, max_sampling_ratio=0), "max_sampling_ratio must be"),
        (lambda: ops.ps_roi_align(IMAGE, BOX, 3), "multiple of 3 x 3 channels.*got 4"),
        (
            lambda: ops.multiscale_roi_align([IMAGE], BOX, 2, spatial_scales=(1, 0.5)),
            "1 maps and 2 scales",
        ),
        (
            lambda: ops.multiscale_roi_align([IMAGE] * 2, BOX, 2, spatial_scales=(1, 0.25)),
            "half of the one before",
        ),
    ],
)
def test_regions_name_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
