import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxcv.ops import fusion


def _twice(x):
    return fusion.apart(lambda x: (x + x, x[:1]), x)


def test_it_returns_what_the_function_returns():
    both, first = _twice(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(both, [2, 4])
    np.testing.assert_array_equal(first, [1])


def test_nan_and_infinity_are_no_other_branch():
    for value in (jnp.nan, jnp.inf, -jnp.inf):
        np.testing.assert_array_equal(jax.jit(_twice)(jnp.array([value]))[0], [2 * value])


def test_the_compiler_of_a_cpu_keeps_the_branch():
    text = jax.jit(_twice).lower(jnp.ones(8)).compile().as_text()
    assert " conditional(" in text


def test_mapping_keeps_the_branch_and_derivatives_pass():
    mapped = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(_twice(x)[0] ** 2))))
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(mapped(x), 8 * x)
    assert " conditional(" in mapped.lower(x).compile().as_text()
    np.testing.assert_array_equal(jax.jacfwd(lambda x: _twice(x)[0])(x[0]), 2 * jnp.eye(3))


def test_a_gpu_has_no_branch():
    traced = jax.jit(_twice).trace(jnp.ones(8))
    infinity = "0x7F800000"  # what the branch of a CPU compares with
    found = [infinity in traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda")]
    assert found == [True, False]


def test_arrays_that_lie_on_two_devices_and_say_so():
    mesh = jax.make_mesh((2,), ("batch",), devices=jax.devices()[:2])
    x = jax.device_put(np.arange(4.0), NamedSharding(mesh, PartitionSpec("batch")))
    got = jax.jit(lambda x: fusion.apart(lambda x: x + x, x))(x)
    np.testing.assert_array_equal(got, [0, 2, 4, 6])


def test_arrays_without_elements():
    both, first = _twice(jnp.zeros((0, 3)))
    assert both.shape == first.shape == (0, 3)
