import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import layers


def test_it_is_the_sum_and_so_is_its_derivative_in_both_modes():
    x, y = jnp.array([1.0, 2.0]), jnp.array([10.0, 20.0])
    np.testing.assert_array_equal(layers.residual(x, y), [11, 22])
    np.testing.assert_array_equal(jax.jvp(layers.residual, (x, y), (x, y))[1], [11, 22])
    for gradient in jax.grad(lambda x, y: (layers.residual(x, y) ** 2).sum(), (0, 1))(x, y):
        np.testing.assert_array_equal(gradient, [22, 44])


def test_sums_of_blocks_and_of_their_gradients_are_kept_apart():
    # Fused, a block's sum would be that of all blocks so far, computed anew in each.
    def loss(x, weights):
        for weight in weights:
            x = layers.residual(x, jnp.tanh(x * weight))
        return (x**2).sum()

    weights = [jnp.float32(i + 1) for i in range(8)]
    text = jax.jit(jax.grad(loss)).lower(jnp.ones((64, 64)), weights).compile().as_text()
    assert text.count(" conditional(") == 2 * len(weights)
