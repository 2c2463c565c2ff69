import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from jaxcv.ops import pool
from tests import golden
from tests.meets import assert_meets

TORCH = "torch.nn.functional."


def cases(function):
    """Those of both files."""
    return golden.cases("ops/layers.npz", TORCH + function) + golden.cases(
        "ops/interpolate.npz", TORCH + function
    )


def pooled(function, **options):
    """`function` between the reference's layout and ours."""

    def run(inputs):
        arrays = [inputs[name] for name in ("input", "indices") if name in inputs]
        outputs = function(*(jnp.moveaxis(array, 1, -1) for array in arrays), **options)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(jnp.moveaxis(output, -1, 1) for output in outputs)

    return run


def options_of(case):
    options = dict(case.arguments)
    options.pop("return_indices", None)
    if "divisor_override" in options:
        options["divisor"] = options.pop("divisor_override")
    return {"window": options.pop("kernel_size"), "strides": options.pop("stride", None), **options}


@pytest.mark.parametrize("case", cases("max_pool2d"), ids=lambda c: c.name)
def test_max_pool_equals_torch(case):
    outputs = ["output" if "output" in case.outputs else "output0"]
    assert_meets(case, pooled(ops.max_pool, **options_of(case)), outputs)


@pytest.mark.parametrize(
    "case", golden.cases("ops/interpolate.npz", TORCH + "max_pool2d"), ids=lambda c: c.name
)
def test_max_pool_with_argmax_equals_torch(case):
    function = pooled(ops.max_pool_with_argmax, **options_of(case))
    assert_meets(case, function, ["output0", "output1"])


@pytest.mark.parametrize(
    "case", golden.cases("ops/interpolate.npz", TORCH + "max_unpool2d"), ids=lambda c: c.name
)
def test_max_unpool_equals_torch(case):
    assert_meets(case, pooled(ops.max_unpool, **options_of(case)))


@pytest.mark.parametrize("case", cases("avg_pool2d"), ids=lambda c: c.name)
def test_avg_pool_equals_torch(case):
    assert_meets(case, pooled(ops.avg_pool, **options_of(case)))


@pytest.mark.parametrize("case", cases("adaptive_avg_pool2d"), ids=lambda c: c.name)
def test_adaptive_avg_pool_equals_torch(case):
    assert_meets(case, pooled(ops.adaptive_avg_pool, **case.arguments))


@pytest.mark.parametrize(
    "case", golden.cases("ops/interpolate.npz", TORCH + "adaptive_max_pool2d"), ids=lambda c: c.name
)
def test_adaptive_max_pool_equals_torch(case):
    assert_meets(case, pooled(ops.adaptive_max_pool, **case.arguments))


def test_unpooling_puts_the_maxima_back_by_hand():
    image = jnp.array([[1.0, 5, 2, 2], [3, 4, 9, 8]])[None, :, :, None]
    maxima, places = ops.max_pool_with_argmax(image, window=2)
    np.testing.assert_array_equal(maxima[0, :, :, 0], [[5, 9]])
    np.testing.assert_array_equal(places[0, :, :, 0], [[1, 6]])
    back = ops.max_unpool(10 * maxima, places, output_size=(2, 4), window=2)
    np.testing.assert_array_equal(back[0, :, :, 0], [[0, 50, 0, 0], [0, 0, 90, 0]])


def test_argmax_of_infinities_lies_in_the_image_and_nan_is_not_lost():
    image = jnp.full((1, 3, 3, 1), -jnp.inf).at[0, 2, 2].set(jnp.nan)
    maxima, places = ops.max_pool_with_argmax(image, window=2, padding=1)
    np.testing.assert_array_equal(places[0, :, :, 0], [[0, 1], [3, 8]])
    np.testing.assert_array_equal(np.isnan(maxima[0, :, :, 0]), [[False, False], [False, True]])


# The program of `ops.max_pool` would be kept, whatever `_MOST_TAPS` is by then.
as_written = ops.max_pool.__wrapped__


@pytest.mark.parametrize("options", [{"window": 3, "strides": 2, "padding": 1}, {"window": 2}])
def test_both_forms_of_max_pool_have_the_same_gradient(options, monkeypatch):
    image = jax.random.randint(jax.random.key(0), (2, 7, 9, 3), 0, 4).astype(jnp.float32)

    def gradient():
        value, pullback = jax.vjp(lambda x: as_written(x, **options), image)
        return pullback(jax.random.normal(jax.random.key(1), value.shape))[0]

    want = gradient()
    monkeypatch.setattr(pool, "_MOST_TAPS", 0)
    np.testing.assert_allclose(gradient(), want, atol=1e-6)


def test_the_gradient_of_equal_maxima_goes_to_the_first_in_row_order():
    image = jnp.array([[1.0, 3, 3], [3, 3, 0]])[None, :, :, None]
    gradient = jax.grad(lambda x: ops.max_pool(x, window=2, strides=1).sum())(image)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 2, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "options",
    [
        {"window": 2},
        {"window": 2, "strides": 1, "padding": "SAME"},
        {"window": 3, "strides": 2, "padding": 1},
        {"window": 3, "strides": 2, "ceil_mode": True},
    ],
    ids=str,
)
def test_derivatives_in_forward_mode_and_of_second_order_equal_those_of_xla(options, monkeypatch):
    image, direction = jax.random.normal(jax.random.key(0), (2, 1, 6, 7, 2))  # no equal values

    def derivatives():
        pooled = functools.partial(as_written, **options)
        gradient = jax.grad(lambda x: (pooled(x) ** 3).sum())
        again = jax.checkpoint(lambda x: jnp.vdot(gradient(x), direction))
        derivatives = {
            "tangent": lambda x: jax.jvp(pooled, (x,), (direction,))[1],
            "jacobian": jax.jacfwd(pooled),
            "forward over reverse": lambda x: jax.jvp(gradient, (x,), (direction,))[1],
            "reverse over reverse": jax.grad(again),
            "many": lambda x: jax.vmap(jax.grad(again))(jnp.stack([x, -x])),
        }
        return jax.jit(lambda x: {name: of(x) for name, of in derivatives.items()})(image)

    got = derivatives()
    monkeypatch.setattr(pool, "_MOST_TAPS", 0)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), got, derivatives())


def test_the_tangent_of_equal_maxima_is_that_of_the_first_in_row_order():
    image = jnp.array([[1.0, 3, 3], [3, 3, 0]])[None, :, :, None]
    pixels = jnp.arange(6.0).reshape(image.shape)
    pooled = lambda x: ops.max_pool(x, window=2, strides=1)  # noqa: E731
    tangent = jax.jvp(pooled, (image,), (pixels,))[1]
    np.testing.assert_array_equal(tangent[0, :, :, 0], [[1, 1]])
    np.testing.assert_array_equal(jax.jacfwd(pooled)(image), jax.jacrev(pooled)(image))


def test_unpooling_has_forward_mode():
    image = jax.random.normal(jax.random.key(0), (1, 4, 6, 2))

    def there_and_back(x):
        maxima, places = ops.max_pool_with_argmax(x, window=2)
        return ops.max_unpool(maxima**2, places, output_size=(4, 6), window=2)

    jacobian = jax.jacrev(there_and_back)(image)
    np.testing.assert_array_equal(jax.jacfwd(there_and_back)(image), jacobian)
    assert np.count_nonzero(jacobian) == 12  # one for each window and channel


def test_shard_map_knows_along_which_axes_a_gradient_varies():
    mesh = jax.make_mesh((1,), ("device",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("device")
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    gradient = jax.grad(lambda x: ops.max_pool(x, window=2).sum())
    got = jax.shard_map(gradient, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=True)(image)
    np.testing.assert_array_equal(got, gradient(image))


def test_ceil_mode_takes_a_window_larger_than_the_image():
    # torch: one window of 3 on 2 pixels at stride 2, none at stride 1.
    image = jnp.arange(4.0).reshape(1, 2, 2, 1)
    pooled = ops.max_pool(image, window=3, strides=2, ceil_mode=True)
    np.testing.assert_array_equal(pooled, [[[[3.0]]]])
    with pytest.raises(ValueError, match="too small"):
        ops.max_pool(image, window=3, strides=1, ceil_mode=True)


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


def test_the_gradient_of_an_adaptive_maximum_goes_to_the_first_in_row_order():
    image = jnp.array([[0.0, 1, 0, 0], [1, 0, 0, 0]])[None, ..., None]
    gradient = jax.grad(lambda x: ops.adaptive_max_pool(x, output_size=(1, 2)).sum())(image)
    np.testing.assert_array_equal(gradient[0, ..., 0], [[0, 1, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.max_pool(IMAGE[0], window=2), r"image must be \[B, H, W, C\].*image\[None\]"),
        (lambda: ops.max_pool(IMAGE.astype(int), window=2), "floating dtype, got image int32"),
        (lambda: ops.max_pool(IMAGE, window=6), "too small: 5 pixels.*no window of 6"),
        (lambda: ops.avg_pool(IMAGE, window=3, padding=2), r"at most half of window \(3, 3\)"),
        (lambda: ops.avg_pool(IMAGE, window=0), "window must be at least 1"),
        (
            lambda: ops.max_unpool(IMAGE, jnp.zeros((1, 5, 5, 4)), output_size=(10, 10), window=2),
            r"indices must be \[1, 5, 5, 4\] int.*float32",
        ),
        (
            lambda: ops.max_unpool(IMAGE, IMAGE.astype(int), output_size=(20, 10), window=2),
            r"output_size \(20, 10\) does not fit: its height gives 10 windows, the values have 5",
        ),
        (lambda: ops.adaptive_avg_pool(IMAGE, output_size=0), "output_size must be at least 1"),
        (lambda: ops.adaptive_avg_pool(IMAGE.astype(int), output_size=1), "got image int32"),
        (lambda: ops.adaptive_max_pool(IMAGE[:, :0], output_size=1), "image must have pixels"),
        (lambda: ops.avg_pool(IMAGE, window=2, divisor=0), "divisor must not be 0"),
    ],
)
def test_pooling_names_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
