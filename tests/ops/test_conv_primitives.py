"""The three products of a convolution: a CPU's forms against XLA's own, and their derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxcv import ops
from jaxcv.ops import conv_cpu, conv_plain

# (image size, window, strides, padding, dilation, groups, channels, features)
_GRID = {
    "linear": ((), (), (), (), (), 1, 3, 4),
    "1x1 of more pixels than a block": ((23, 25), (1, 1), (1, 1), 0, (1, 1), 1, 3, 4),
    "1x1 to fewer channels": ((5, 6), (1, 1), (1, 1), 0, (1, 1), 1, 4, 3),
    "1x1 strided": ((6, 7), (1, 1), (2, 3), 0, (1, 1), 1, 3, 4),
    "1x1 padded": ((5, 5), (1, 1), (2, 2), 1, (1, 1), 1, 3, 4),
    "3x3": ((6, 5), (3, 3), (1, 1), 1, (1, 1), 1, 2, 30),
    "3x3 strided, pixels left over": ((8, 9), (3, 3), (2, 3), 0, (1, 1), 1, 3, 4),
    "3x3 dilated": ((9, 8), (3, 3), (1, 2), 2, (2, 3), 1, 3, 4),
    "padding of four kinds": ((6, 7), (2, 3), (2, 1), ((0, 2), (1, 3)), (1, 1), 1, 3, 4),
    "padding beyond the window": ((4, 4), (2, 2), (3, 3), 3, (1, 1), 1, 2, 3),
    "even phases": ((8, 10), (4, 4), (2, 2), 1, (1, 1), 1, 3, 4),
    "even phases, pixels left over": ((9, 7), (2, 4), (2, 4), ((1, 0), (2, 1)), (1, 1), 1, 3, 4),
    "large window": ((18, 17), (8, 8), (4, 4), 2, (1, 1), 1, 2, 2),
    "depthwise": ((6, 7), (3, 3), (1, 1), 1, (1, 1), 5, 5, 5),
    "depthwise strided": ((7, 8), (3, 5), (2, 3), ((1, 2), (0, 4)), (1, 1), 4, 4, 4),
    "depthwise dilated": ((9, 9), (3, 3), (2, 1), 2, (2, 3), 4, 4, 4),
    "depthwise, one column": ((5, 4), (3, 1), (1, 1), ((1, 1), (0, 0)), (1, 1), 3, 3, 3),
    "two for each channel": ((6, 6), (3, 3), (1, 1), 1, (1, 1), 6, 6, 12),
    "many groups": ((6, 6), (3, 3), (2, 2), 1, (1, 1), 12, 24, 36),
    "two groups": ((6, 5), (3, 3), (1, 1), 1, (1, 1), 2, 40, 6),
    "grouped even phases": ((8, 8), (2, 2), (2, 2), 0, (1, 1), 3, 6, 9),
    "one axis": ((9,), (3,), (2,), 1, (2,), 2, 4, 6),
}


@pytest.mark.parametrize("name", _GRID)
def test_forms_of_a_cpu_equal_xla_in_double_precision(name):
    with jax.enable_x64(True):
        geometry, x, w, y = _case(name, np.float64)
        forms = [
            jax.jit(
                lambda x, w, y, form=form: [
                    getattr(form, product)(a, b, geometry) for product, a, b in _products(x, w, y)
                ]
            )
            for form in (conv_cpu, conv_plain)
        ]
        for got, want in zip(*(form(x, w, y) for form in forms)):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize(
    "name", ["linear", "1x1 strided", "even phases", "depthwise strided", "many groups"]
)
def test_derivatives_of_every_order_and_mode(name):
    with jax.enable_x64(True):
        geometry, x, w, _ = _case(name, np.float64)
        conv = functools.partial(
            ops.conv,
            strides=geometry.strides,
            padding=geometry.padding,
            groups=geometry.groups,
        )
        if not geometry.window:
            conv = ops.linear
        # Squares, so that second derivatives are not zero.
        function = jax.jit(lambda x, w: jnp.square(conv(x, w)).sum())
        check_grads(function, (x, w), order=2, rtol=1e-5, atol=1e-5)


def test_only_a_cpu_takes_mapped_kernels_one_after_the_other():
    _, x, w, _ = _case("3x3", np.float32)
    mapped = jax.jit(jax.vmap(ops.conv)).trace(jnp.stack([x, x]), jnp.stack([w, w]))
    loops = ["while" in mapped.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "cpu")]
    assert loops == [False, True]
    images = jax.jit(jax.vmap(ops.conv, (0, None))).trace(jnp.stack([x, x]), w)
    assert "while" not in images.lower().as_text()


def test_maps_equal_one_after_the_other():
    _, x, w, _ = _case("depthwise", np.float32)
    conv = functools.partial(ops.conv, padding=1, groups=5)
    images, kernels = jnp.stack([x, 2 * x, -x]), jnp.stack([w, w + 1, 2 * w])
    gradient = jax.grad(lambda w, x: jnp.square(conv(x, w)).sum())
    for function, arguments in ((lambda w, x: conv(x, w), (w, x)), (gradient, (w, x))):
        for axes in ((0, 0), (None, 0), (0, None), (2, 1)):
            mapped = [
                a if axis is None else jnp.moveaxis(many, 0, axis)
                for a, many, axis in zip(arguments, (kernels, images), axes)
            ]
            got = jax.vmap(function, in_axes=axes)(*mapped)
            for i in range(3):
                one = [
                    a if axis is None else many[i]
                    for a, many, axis in zip(arguments, (kernels, images), axes)
                ]
                np.testing.assert_allclose(got[i], function(*one), rtol=1e-6, atol=1e-6)


def test_half_precision_is_summed_as_xla_does():
    geometry, x, w, y = _case("depthwise", jnp.bfloat16)
    for product, a, b in _products(x, w, y):
        got = getattr(conv_cpu, product)(a, b, geometry)
        np.testing.assert_array_equal(got, getattr(conv_plain, product)(a, b, geometry))


def test_precision_is_that_where_it_was_called():
    _, x, w, _ = _case("3x3", np.float32)
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(lambda x, w: ops.conv(x, w, padding=1)).trace(x, w)
    text = lowered.lower(lowering_platforms=("cuda",)).as_text()
    assert "HIGHEST" in text


def _case(name, dtype):
    size, window, strides, padding, dilation, groups, channels, features = _GRID[name]
    rng = np.random.default_rng(0)
    if isinstance(padding, int):
        padding = ((padding, padding),) * len(size)
    geometry = conv_plain.Geometry(size, window, strides, padding, dilation, groups, None)
    x = jnp.asarray(rng.standard_normal((2, *size, channels)), dtype)
    w = jnp.asarray(rng.standard_normal((*window, channels // groups, features)), dtype)
    y = jax.eval_shape(functools.partial(conv_plain.forward, geometry=geometry), x, w)
    return geometry, x, w, jnp.asarray(rng.standard_normal(y.shape), dtype)


def _products(x, w, y):
    return (("forward", x, w), ("image_gradient", y, w), ("kernel_gradient", x, y))
