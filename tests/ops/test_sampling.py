import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import ops
from tests import golden
from tests.meets import assert_meets

GRID = "torch.nn.functional.grid_sample"
PADDINGS = ("zeros", "border", "reflection")


def sampled(arguments):
    """`grid_sample` between the reference's layout and ours."""

    def run(inputs):
        def one(image, grid):
            image = jnp.moveaxis(jnp.asarray(image), 0, -1)
            return jnp.moveaxis(ops.grid_sample(image, jnp.asarray(grid), **arguments), -1, 0)

        return (jax.vmap(one)(inputs["input"], inputs["grid"]),)

    return run


@pytest.mark.parametrize(
    "case", golden.cases("ops/grid_sample.npz", GRID), ids=lambda case: case.name
)
def test_grid_sample_equals_torch(case):
    if case.meta.get("gradients"):
        assert_meets(case, sampled(case.arguments))
    else:  # eager is quicker once
        (got,) = sampled(case.arguments)(case.inputs)
        golden.assert_close(got, case.outputs["output"], case.error.get("output", 0))


@pytest.mark.parametrize(
    "case",
    golden.cases("ops/grid_sample.npz", "torch.nn.functional.affine_grid"),
    ids=lambda case: case.name,
)
def test_affine_grid_equals_torch(case):
    align_corners = case.arguments["align_corners"]

    def run(inputs):
        size = case.arguments["size"][2:]
        grids = jax.vmap(lambda theta: ops.affine_grid(theta, size, align_corners=align_corners))
        return (grids(jnp.asarray(inputs["theta"])),)

    assert_meets(case, run)


def transformed(image, matrix, align_corners):
    theta = jnp.concatenate([jnp.array(matrix), jnp.zeros((2, 1))], axis=1)
    grid = ops.affine_grid(theta, image.shape, align_corners=align_corners)
    return ops.grid_sample(image[..., None], grid, align_corners=align_corners)[..., 0]


@pytest.mark.parametrize("align_corners", [False, True])
def test_spatial_transformer_by_hand(align_corners):
    image = jnp.arange(16.0).reshape(4, 4)
    steps = np.arange(4)

    def check(matrix, want):
        got = transformed(image, matrix, align_corners)
        np.testing.assert_allclose(got, want, atol=2e-5)

    check([[1.0, 0], [0, 1]], image)
    # Zooming in by 2 about the middle, 7.5: steps of a half pixel.
    check([[0.5, 0], [0, 0.5]], 3.75 + 2.0 * steps[:, None] + 0.5 * steps)
    out = np.zeros((4, 4))
    out[1:3, 1:3] = [[2.5, 4.5], [10.5, 12.5]]
    check([[2.0, 0], [0, 2]], out)
    turned = [
        [0.6, 2.6, 6.1, 3.6],
        [1.2, 4.7, 8.2, 11.7],
        [3.3, 6.8, 10.3, 13.8],
        [2.4, 8.9, 12.4, 5.4],
    ]
    check([[0.7, -0.7], [0.7, 0.7]], turned)
    half = np.sqrt(0.5)
    got = transformed(image, [[half, -half], [half, half]], align_corners)
    want = [
        [0.568019, 2.550253, 6.085786, 3.408117],
        [1.136039, 4.671573, 8.207107, 11.742641],
    ]
    np.testing.assert_allclose(got[:2], want, atol=1e-5)


def test_content_turns_against_the_map_of_positions():
    image = jnp.zeros((3, 3)).at[1, 2].set(1)
    half = np.sqrt(0.5)
    got = transformed(image, [[half, -half], [half, half]], True)
    want = [[0, 0.207107, 0.585786], [0, 0, 0.207107], [0, 0, 0]]
    np.testing.assert_allclose(got, want, atol=1e-6)


def slow_sample(image, grid, mode, padding_mode, align_corners):
    """One number after the other."""
    height, width = image.shape

    def pixel(y, x):
        places = []
        for place, size in ((y, height), (x, width)):
            if padding_mode == "border":
                place = min(max(place, 0), size - 1)
            elif padding_mode == "reflection":
                # Walk back and forth until inside.
                low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
                while not low <= place <= high:
                    place = 2 * low - place if place < low else 2 * high - place
            places.append(round(place))
        inside = 0 <= places[0] < height and 0 <= places[1] < width
        return image[places[0], places[1]] if inside else 0.0

    def kernel(distance):
        x, a = abs(distance), -0.75
        if mode == "bilinear":
            return max(1 - x, 0)
        if x < 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    def at(x, y):
        if align_corners:
            x, y = (x + 1) / 2 * (width - 1), (y + 1) / 2 * (height - 1)
        else:
            x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
        if mode == "nearest":
            return pixel(round(y), round(x))
        low_y, low_x = int(np.floor(y)), int(np.floor(x))
        return sum(
            kernel(y - j) * kernel(x - i) * pixel(j, i)
            for j in range(low_y - 1, low_y + 3)
            for i in range(low_x - 1, low_x + 3)
        )

    return np.array([at(float(x), float(y)) for x, y in grid])


@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from(("nearest", "bilinear", "bicubic")),
    st.sampled_from(PADDINGS),
    st.booleans(),
)
def test_grid_sample_equals_the_slow_form(seed, mode, padding_mode, align_corners):
    rng = np.random.default_rng(seed)
    image = rng.uniform(-1, 1, (4, 6)).astype(np.float32)
    grid = rng.uniform(-1.9, 1.9, (12, 2)).astype(np.float32)
    got = ops.grid_sample(
        jnp.asarray(image)[..., None],
        jnp.asarray(grid),
        mode=mode,
        padding_mode=padding_mode,
        align_corners=align_corners,
    )
    want = slow_sample(image, grid, mode, padding_mode, align_corners)
    np.testing.assert_allclose(got[:, 0], want, atol=1e-5)


IMAGE = jax.random.normal(jax.random.key(0), (5, 7, 3))


def test_the_identity_grid_gives_the_image():
    theta = jnp.eye(2, 3)
    for align_corners in (False, True):
        grid = ops.affine_grid(theta, (5, 7), align_corners=align_corners)
        for mode in ("nearest", "bilinear", "bicubic"):
            got = ops.grid_sample(IMAGE, grid, mode=mode, align_corners=align_corners)
            np.testing.assert_allclose(got, IMAGE, atol=3e-6)


def test_warping_by_nothing_gives_the_image_to_the_bit():
    for mode in ("nearest", "bilinear", "bicubic"):
        got = ops.warp_flow(IMAGE, jnp.zeros((5, 7, 2)), mode=mode)
        np.testing.assert_array_equal(got, IMAGE)


def test_warp_flow_reads_where_the_flow_points():
    flow = jnp.broadcast_to(jnp.array([2.0, -1.0]), (5, 7, 2))
    got = ops.warp_flow(IMAGE, flow)
    np.testing.assert_array_equal(got[1:, :5], IMAGE[:-1, 2:])
    assert not got[0].any()
    assert not got[:, 5:].any()
    got = ops.warp_flow(IMAGE, flow, padding_mode="border")
    np.testing.assert_array_equal(got[0], IMAGE[0, [2, 3, 4, 5, 6, 6, 6]])


def test_warp_disparity_gives_the_left_image_from_the_right():
    left = IMAGE
    right = jnp.roll(left, -2, axis=1)  # all of it 2 pixels further left
    got = ops.warp_disparity(right, jnp.full((5, 7), 2.0))
    np.testing.assert_array_equal(got[:, 2:], left[:, 2:])
    assert not got[:, :2].any()


def test_displacement_passes_through_the_grid_and_is_smooth_between():
    vectors = jax.random.normal(jax.random.key(0), (3, 3, 2))
    nodes = jnp.stack(jnp.meshgrid(jnp.array([0.0, 4, 8]), jnp.array([0.0, 3, 6])), axis=-1)
    got = ops.interpolate_displacement(vectors, nodes, (6, 8))
    np.testing.assert_allclose(got, vectors, atol=1e-6)
    # Half-way between the first two of three nodes the kernel's weights are 9, 9, -1 (over 17
    # where the fourth, -1, lies outside).
    middle = ops.interpolate_displacement(vectors, jnp.array([2.0, 0]), (6, 8))
    want = (9 * vectors[0, 0] + 9 * vectors[0, 1] - vectors[0, 2]) / 17
    np.testing.assert_allclose(middle, want, atol=1e-6)


def test_displacement_fields_have_the_deviation_asked_for():
    keys = jax.random.split(jax.random.key(1), 400)
    fields = jax.jit(jax.vmap(lambda key: ops.displacement_field(key, (9, 11), sigma=2.0)))(keys)
    assert fields.shape == (400, 9, 11, 2)
    # The centre of the middle pixel is the middle node.
    np.testing.assert_allclose(fields[:, 4, 5].std(0), [2, 2], rtol=0.1)


def difference_quotient(function, array, direction, step=1e-6):
    return (function(array + step * direction) - function(array - step * direction)) / (2 * step)


@pytest.mark.parametrize(
    ("mode", "padding_mode"),
    [("bilinear", "zeros"), ("bicubic", "border"), ("bilinear", "reflection")],
)
def test_gradients_equal_finite_differences(mode, padding_mode):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        image = jnp.asarray(rng.normal(size=(4, 5, 2)))
        grid = jnp.asarray(rng.uniform(-1.4, 1.4, (9, 2)))
        weight = jnp.asarray(rng.normal(size=(9, 2)))

        @jax.jit
        def value(image, grid):
            got = ops.grid_sample(image, grid, mode=mode, padding_mode=padding_mode)
            return (got * weight).sum()

        by_image, by_grid = jax.grad(value, (0, 1))(image, grid)
        direction = rng.normal(size=image.shape)
        want = difference_quotient(lambda x: value(x, grid), image, direction)
        np.testing.assert_allclose((by_image * direction).sum(), want, rtol=1e-6)
        direction = rng.normal(size=grid.shape)
        want = difference_quotient(lambda x: value(image, x), grid, direction)
        np.testing.assert_allclose((by_grid * direction).sum(), want, rtol=1e-6)


@pytest.mark.parametrize("padding_mode", PADDINGS)
def test_positions_that_are_no_numbers_lie_far_outside_and_gradients_are_finite(padding_mode):
    nan, inf = np.nan, np.inf
    grid = jnp.array([[nan, 0.0], [inf, 0], [-inf, inf], [1e30, -1e30], [-1, -1], [1, 1], [0, 0]])

    @jax.jit
    def values_and_gradients(image, grid):
        sample = lambda *arrays: ops.grid_sample(*arrays, padding_mode=padding_mode)  # noqa: E731
        got, pullback = jax.vjp(sample, image, grid)
        return got, *pullback(jnp.ones_like(got))

    found = values_and_gradients(IMAGE, grid)
    assert all(np.isfinite(array).all() for array in found)
    got, _, by_grid = found
    outside = ~jnp.isfinite(grid) if padding_mode == "reflection" else ~(jnp.abs(grid) <= 1)
    assert not by_grid[outside].any()
    if padding_mode == "zeros":
        assert not got[:4].any()


def test_reflection_repeats_far_outside():
    # Five pixels, there and back in 8; float32 still counts pixels there.
    image = jnp.arange(5.0)[None, :, None]
    x = jnp.array([2**23 + 1, 2**23 + 6, -(2**23) - 3]) / 2 - 1
    grid = jnp.stack([x, jnp.zeros(3)], axis=-1)
    got = ops.grid_sample(image, grid, padding_mode="reflection", align_corners=True)
    np.testing.assert_array_equal(got[:, 0], [1, 2, 3])


def test_an_image_without_channels_gives_none():
    sample = jax.jit(jax.vmap(ops.grid_sample))
    assert sample(jnp.ones((2, 5, 7, 0)), jnp.zeros((2, 3, 2))).shape == (2, 3, 0)


def test_bfloat16_is_sampled_in_float32():
    grid = ops.affine_grid(jnp.array([[0.5, 0.1, 0], [0, 0.6, 0.1]]), (6, 6))
    image = IMAGE.astype(jnp.bfloat16)
    got = ops.grid_sample(image, grid)
    assert got.dtype == jnp.bfloat16
    want = ops.grid_sample(image.astype(jnp.float32), grid)
    np.testing.assert_array_equal(got, want.astype(jnp.bfloat16))
    total = jax.jit(lambda x: ops.grid_sample(x, grid).astype(jnp.float32).sum())
    gradient = jax.grad(total)(image)
    assert gradient.dtype == jnp.bfloat16


THETA = jnp.array([[0.9, 0.2, 0.1], [-0.2, 0.8, 0]])
OFFSET = jax.random.normal(jax.random.key(1), (5, 7, 18))
KERNEL = jax.random.normal(jax.random.key(2), (3, 3, 3, 2))
# Each op, of one [5, 7, 3] image.
OPERATIONS = {
    "affine_grid and grid_sample": lambda image: ops.grid_sample(
        image, ops.affine_grid(THETA, (4, 4)), padding_mode="reflection"
    ),
    "grid_sample nowhere": lambda image: ops.grid_sample(image, jnp.zeros((0, 2))),
    "warp_disparity": lambda image: ops.warp_disparity(image, image[..., 0]),
    "resize": lambda image: ops.resize(image, (9, 4), mode="bicubic"),
    "resize, one pixel": lambda image: ops.resize(image[:1, :1], scale=3),
    "deform_conv2d": lambda image: ops.deform_conv2d(image, OFFSET, KERNEL, padding=1),
    "max_pool_with_argmax": lambda image: ops.max_pool_with_argmax(image[None], window=2)[0],
    "max_unpool": lambda image: ops.max_unpool(
        *ops.max_pool_with_argmax(image[None], window=2), output_size=(5, 7), window=2
    ),
    "distance_transform": lambda image: ops.distance_transform(image[..., 0] > -0.5),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_form_of_calling_gives_the_same(name):
    images = jax.random.normal(jax.random.key(3), (2, 5, 7, 3))

    def gradient(image):
        value, pullback = jax.vjp(lambda x: OPERATIONS[name](x).astype(jnp.float32), image)
        return value, pullback(jnp.cos(value))[0]

    compilations = []
    with jax.numpy_rank_promotion("raise"):
        jitted = jax.jit(lambda image: compilations.append(1) or gradient(image))
        want = [jitted(image) for image in images]
        plain = OPERATIONS[name](images[0])
        forms = {
            "vmap": list(zip(*jax.jit(jax.vmap(gradient))(images))),
            "pmap": list(zip(*jax.pmap(gradient, devices=jax.devices()[:2])(images))),
        }
    assert len(compilations) == 1
    np.testing.assert_allclose(plain, want[0][0], atol=1e-5)
    for form, got in forms.items():
        for a, b in zip(got, want):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_allclose(x, y, atol=1e-5, err_msg=form)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.grid_sample(IMAGE[None], jnp.zeros((1, 2))),
            r"image must be \[H, W, C\].*vmap",
        ),
        (
            lambda: ops.grid_sample(IMAGE, jnp.zeros((4, 3))),
            r"grid must be \[\.\.\., 2\].*\[4, 3\]",
        ),
        (lambda: ops.grid_sample(IMAGE.astype(int), jnp.zeros((4, 2))), "image must be floating"),
        (
            lambda: ops.grid_sample(IMAGE, jnp.zeros((4, 2)), mode="bilinaer"),
            "mode must be one of.*Did you mean 'bilinear'",
        ),
        (
            lambda: ops.grid_sample(IMAGE, jnp.zeros((4, 2)), padding_mode="reflect"),
            "padding_mode must be one of.*Did you mean 'reflection'",
        ),
        (lambda: ops.affine_grid(jnp.eye(3), (4, 4)), r"theta must be \[2, 3\], got \[3, 3\]"),
        (lambda: ops.affine_grid(jnp.eye(2, 3), (0, 4)), "size must be .*at least 1"),
        (lambda: ops.warp_flow(IMAGE, jnp.zeros((4, 2))), r"flow must be \[H, W, 2\]"),
        (lambda: ops.warp_disparity(IMAGE, IMAGE), r"disparity must be \[H, W\]"),
        (
            lambda: ops.warp_disparity(IMAGE, jnp.zeros((5, 7), int)),
            "disparity must be floating, got int32",
        ),
        (
            lambda: ops.displacement_field(jax.random.key(0), (5, 7), grid=1),
            "grid must be at least 2",
        ),
        (
            lambda: ops.interpolate_displacement(jnp.ones((1, 1, 2)), jnp.zeros((3, 2)), (5, 7)),
            r"vectors must be \[G, G, 2\], G at least 2, got \[1, 1, 2\]",
        ),
        (
            lambda: ops.interpolate_displacement(IMAGE[:3, :3, :2], jnp.zeros((3, 3)), (5, 7)),
            r"points must be \[\.\.\., 2\].*got \[3, 3\]",
        ),
        (
            lambda: ops.interpolate_displacement(IMAGE[:3, :3, :2], jnp.zeros((3, 2)), (5, 0)),
            "size must be at least 1",
        ),
    ],
)
def test_sampling_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
