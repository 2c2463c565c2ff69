import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests.xla import compiled_by


def plain(inputs, scale, bias):
    """The definition, whose derivatives JAX makes by itself."""
    axes = tuple(range(inputs.ndim - 1))
    mean, variance = inputs.mean(axes), inputs.var(axes)
    return (inputs - mean) / jnp.sqrt(variance + 1e-5) * scale + bias, mean, variance


def plain_of_groups(inputs, scale, bias, groups):
    cut = inputs.reshape(*inputs.shape[:-1], groups, -1)
    axes = (*range(1, inputs.ndim - 1), inputs.ndim)
    mean, variance = cut.mean(axes, keepdims=True), cut.var(axes, keepdims=True)
    return ((cut - mean) / jnp.sqrt(variance + 1e-5)).reshape(inputs.shape) * scale + bias


def arguments(shape, seed=0):
    draw = np.random.default_rng(seed).normal
    return draw(2, 3, shape), draw(size=shape[-1]), draw(size=shape[-1])


def close(got, want):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), got, want)


# Any axes in front of the channels; the last three take blocks of rows in turn: of a divisor of all
# rows, of one row, and with rows left over.
@pytest.mark.parametrize(
    "shape", [(13, 5), (2, 2, 3, 2, 3), (2, 64, 65, 16), (40, 3300), (127, 127, 9)], ids=str
)
def test_batch_norm_and_its_derivatives_are_those_of_the_definition(shape):
    _same_derivatives(ops.batch_norm, plain, shape)


# The last takes blocks of rows.
@pytest.mark.parametrize(
    ("shape", "groups"), [((3, 2, 4, 6), 3), ((2, 4), 1), ((2, 4100, 32), 32), ((2, 4100, 32), 4)]
)
def test_group_norm_and_its_derivatives_are_those_of_the_definition(shape, groups):
    _same_derivatives(
        lambda inputs, *others: ops.group_norm(inputs, groups, *others),
        lambda *arrays: plain_of_groups(*arrays, groups),
        shape,
    )


def _same_derivatives(got, want, shape):
    primals, tangents, cotangents = (arguments(shape, seed) for seed in range(3))

    def derivatives(function):
        def gradient(*primals):
            outputs, pull = jax.vjp(function, *primals)
            return pull(cotangents if isinstance(outputs, tuple) else cotangents[0])

        return {
            "value": function(*primals),
            "gradient": gradient(*primals),
            "tangent": jax.jvp(function, primals, tangents)[1],
            "forward over reverse": jax.jvp(gradient, primals, tangents)[1],
            "reverse over reverse": jax.vjp(gradient, *primals)[1](tangents),
        }

    with jax.enable_x64(True):
        close(*(jax.jit(functools.partial(derivatives, f))() for f in (got, want)))


def test_of_mapped_parameters_or_images_gradients_are_those_one_by_one():
    # Ensembles map the parameters too; a gradient may be mapped or taken of what is mapped.
    shape = (3, 2, 4, 5)

    def gradient(inputs, scale, bias):
        loss = lambda *a: (ops.batch_norm(*a)[0] ** 3).sum()  # noqa: E731
        return jax.grad(loss, argnums=(0, 1, 2))(inputs, scale, bias)

    with jax.enable_x64(True):
        inputs, scale, bias = (
            np.stack(arrays) for arrays in zip(*(arguments(shape, seed) for seed in (0, 1)))
        )
        for axes in ((0, 0, 0), (0, None, None), (None, 0, 0)):
            both = [a if axis == 0 else a[0] for a, axis in zip((inputs, scale, bias), axes)]
            each = [
                gradient(*(a[i] if axis == 0 else a for a, axis in zip(both, axes)))
                for i in range(2)
            ]
            got = jax.jit(jax.vmap(gradient, in_axes=axes))(*both)
            close(got, tuple(map(np.stack, zip(*each))))

            def loss(*both, axes=axes):
                return (jax.vmap(ops.batch_norm, in_axes=axes)(*both)[0] ** 3).sum()

            of_mapped = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*both)
            want = tuple(g if axis == 0 else g.sum(0) for g, axis in zip(got, axes))
            close(of_mapped, want)


def test_over_a_named_axis_it_is_that_of_the_whole_batch():
    with jax.enable_x64(True):
        inputs, scale, bias = arguments((4, 3, 2))
        want = ops.batch_norm(inputs, scale, bias)
        norm = functools.partial(ops.batch_norm, axis_name="parts")
        parts = jax.vmap(norm, in_axes=(0, None, None), axis_name="parts")
        outputs, mean, variance = parts(inputs.reshape(2, 2, 3, 2), scale, bias)
        close(outputs.reshape(inputs.shape), want[0])
        close((mean, variance), tuple(np.stack([w, w]) for w in want[1:]))


def test_statistics_of_half_precision_are_float32_and_scale_and_bias_may_be_left_out():
    inputs = jnp.array([[1.0], [1 / 256]], jnp.bfloat16)
    outputs, mean, variance = ops.batch_norm(inputs, epsilon=0.0)
    assert outputs.dtype == mean.dtype == variance.dtype == jnp.float32
    np.testing.assert_allclose(mean, [257 / 512], rtol=1e-6)
    np.testing.assert_allclose(variance, [(255 / 512) ** 2], rtol=1e-6)
    np.testing.assert_allclose(outputs, [[1], [-1]], rtol=1e-6)


def test_outside_of_jit_it_is_one_program():
    image = jnp.ones((2, 3, 3, 1))
    assert compiled_by(lambda: ops.batch_norm(image)) == 1
    assert compiled_by(lambda: ops.batch_norm(image)) == 0


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (np.ones((2, 3), int), {}, r"inputs must be .* got \[2, 3\] int"),
        (np.float32(1), {}, r"inputs must be .* got \[\]"),
        (np.ones((2, 0), np.float32), {}, r"floating with values, got \[2, 0\]"),
        (np.ones((2, 3), np.float32), {"scale": np.ones(2)}, r"scale must be \[3\], got \[2\]"),
        (np.ones((2, 3), np.float32), {"bias": np.ones(4)}, r"bias must be \[3\], got \[4\]"),
    ],
    ids=["integers", "no axes", "empty", "scale", "bias"],
)
def test_what_does_not_fit_is_refused(inputs, options, message):
    for norm in (ops.batch_norm, functools.partial(ops.group_norm, num_groups=1)):
        with pytest.raises(ValueError, match=message):
            norm(inputs, **options)


def test_groups_must_divide_the_channels_of_images():
    for shape, groups in (((2, 3), 2), ((2, 3), 0), ((3,), 1)):
        message = rf"num_groups must divide .* got {groups} and \[{str(list(shape))[1:-1]}\]"
        with pytest.raises(ValueError, match=message):
            ops.group_norm(jnp.ones(shape), groups)
