import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden
from tests.ops.transforms import assert_same_under_transforms

TORCHVISION = "torchvision.ops."
# What costs here is compiling.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def cases(function):
    return golden.cases("ops/roi.npz", TORCHVISION + function)


@functools.partial(quick_jit, static_argnums=(0, 1, 2, 3))
def value(function, size, options, pulls_back, image, boxes, scale, cotangent):
    """Output and gradient (None unless `pulls_back`) by the image, laid out as the reference's."""

    def run(image):
        image = jnp.moveaxis(image, 0, -1)
        output = function(image, boxes, size, spatial_scale=scale, **dict(options))
        return jnp.moveaxis(output, -1, 1)

    if not pulls_back:
        return run(image), None
    output, pullback = jax.vjp(run, image)
    return output, pullback(cotangent)[0]


def assert_equals_torchvision(case, function):
    """`function` gives the case's output, and its gradient by the images if the case has one."""
    options = dict(case.arguments)
    size = options.pop("output_size")
    size = tuple(size) if isinstance(size, list) else size
    if options.get("sampling_ratio") == 0:
        options["sampling_ratio"] = -1  # means the same: no second compilation
    scale = options.pop("spatial_scale")
    want = np.nan_to_num(case.outputs["output"])  # 0 samples: 0 / 0 there, 0 here
    gradients = case.outputs.get("grad_input")
    cotangent = case.inputs.get("cotangent", want)
    owner, boxes = case.inputs["boxes"][:, 0], case.inputs["boxes"][:, 1:]
    static = (function, size, tuple(sorted(options.items())), gradients is not None)
    for i, image in enumerate(case.inputs["input"]):
        # All boxes on every image, so that images share a compilation.
        own = owner == i
        g = np.where(own[:, None, None, None], cotangent, 0)
        output, gradient = value(*static, image, boxes, scale, g)
        assert output.shape == want.shape
        if own.any():
            golden.assert_close(output[own], want[own], case.error["output"])
        if gradients is not None:
            golden.assert_close(gradient, gradients[i], case.error["grad_input"])


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

    @quick_jit
    def value_and_gradients(maps):
        output, pullback = jax.vjp(run, maps)
        return output, pullback(case.inputs["cotangent"])[0]

    output, gradients = value_and_gradients(maps)
    golden.assert_close(output, case.outputs["output"], case.error["output"])
    for name in ("feature0", "feature2"):
        want, error = case.outputs[f"grad_{name}"], case.error[f"grad_{name}"]
        golden.assert_close(gradients[int(name[-1])], want, error)


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


def pyramid(first, second, boxes):
    maps = (first, second)
    return ops.multiscale_roi_align(maps, boxes, 2, spatial_scales=(1, 1 / 2), canonical_scale=64)


@pytest.mark.parametrize(
    "function",
    [
        lambda image, boxes: ops.roi_align(image, boxes, 6, max_sampling_ratio=2),
        lambda image, boxes: ops.roi_align(image, boxes, 2, reduction="max"),
        lambda image, boxes: ops.ps_roi_align(image, boxes, 2, sampling_ratio=1),
        lambda image, boxes: ops.ps_roi_pool(image, boxes, 2),
        lambda image, boxes: pyramid(image, image[::2, ::2], boxes),
        lambda image, boxes: jax.grad(
            lambda image: (ops.roi_align(image, boxes, 2, sampling_ratio=2) ** 2).sum()
        )(image),
    ],
    ids=["adaptive", "max", "ps_roi_align", "ps_roi_pool", "multiscale", "gradient"],
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
            features = ops.roi_align(image, boxes, 2, sampling_ratio=2, reduction=reduction)
            return (features**2).sum()

        slope = (value(image + 1e-6 * direction) - value(image - 1e-6 * direction)) / 2e-6
        gradient = jax.grad(value)(image)
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def test_a_second_derivative_is_an_error_and_not_wrong():
    def energy(image):
        return (ops.roi_align(image, jnp.array([[1.0, 1, 3, 3]]), 1, sampling_ratio=1) ** 2).sum()

    with pytest.raises(ValueError, match="differentiate"):
        jax.grad(lambda image: jax.grad(energy)(image).sum())(jnp.ones((4, 5, 1)))


def test_no_boxes_give_an_empty_output_and_a_gradient_of_zeros():
    image = jnp.ones((4, 5, 2))
    total = lambda image: ops.roi_align(image, jnp.zeros((0, 4)), (2, 3), sampling_ratio=1)  # noqa: E731
    output, pullback = jax.vjp(total, image)
    assert output.shape == (0, 2, 3, 2)
    np.testing.assert_array_equal(pullback(output)[0], jnp.zeros_like(image))


def test_no_channels_give_an_empty_output():
    box = jnp.array([[0.0, 0, 2, 2]])
    for function in (ops.roi_align, ops.roi_pool):
        align = jax.jit(jax.vmap(lambda image, function=function: function(image, box, 2)))
        assert align(jnp.ones((3, 4, 5, 0))).shape == (3, 1, 2, 2, 0)


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
        (lambda: ops.roi_align(IMAGE, BOX, 2, sampling_ratio=2.0), r"sampling_ratio must be.*2\.0"),
        (lambda: ops.ps_roi_align(IMAGE, BOX, 2, sampling_ratio=None), "must be an int.*None"),
        (
            lambda: ops.roi_align(IMAGE, BOX, 2, max_sampling_ratio=3.5),
            r"max_sampling_ratio must be an int or None, got 3\.5",
        ),
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
