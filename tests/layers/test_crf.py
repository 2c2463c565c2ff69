import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, ops

TERMS = (
    ops.Gaussian(2.0, 3.0, normalization="after"),
    ops.Bilateral(8.0, 0.2, 5.0, normalization="after"),
)


def scene(labels):
    logits = jax.random.normal(jax.random.key(0), (2, 6, 7, labels))
    return logits, jax.random.uniform(jax.random.key(1), (2, 6, 7, 3))


def test_the_layer_starts_as_a_potts_crf():
    logits, image = scene(3)
    layer = layers.CRFasRNN(TERMS, iterations=3, max_points=(64, 384))
    refined, variables = jax.jit(layer.init_with_output)(jax.random.key(0), logits, image)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == {"compatibility": (3, 3), "weight0": (3,), "weight1": (3,)}
    for i in range(2):
        want = ops.dense_crf(-logits[i], image[i], TERMS, iterations=3)
        np.testing.assert_allclose(jax.nn.softmax(refined[i]), want, atol=1e-5)


def test_the_layer_learns_that_two_labels_avoid_each_other():
    # Columns alternate between two labels; the logits say nothing. A compatibility that is learned
    # may prefer the other label next to one, which Potts cannot.
    target = jnp.arange(7)[None, None] % 2 * jnp.ones((2, 6, 1), jnp.int32)
    hint = jnp.zeros((2, 6, 7, 2)).at[:, :, 0, 0].set(3.0)
    image = jnp.zeros((2, 6, 7, 3))
    layer = layers.CRFasRNN(
        [ops.Gaussian((0.8, 8.0), 1.0, normalization="after")], iterations=8, filter="exact"
    )
    params = layer.init(jax.random.key(0), hint, image)

    def loss(params):
        chosen = jax.nn.log_softmax(layer.apply(params, hint, image))
        return -jnp.take_along_axis(chosen, target[..., None].astype(jnp.int32), -1).mean()

    @jax.jit
    def step(params):
        value, gradient = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - 2.0 * g, params, gradient)

    start, params = step(params)
    for _ in range(60):
        end, params = step(params)
    assert end < start - 0.01
    compatibility = params["params"]["compatibility"]
    assert compatibility[0, 0] > compatibility[0, 1]


def test_a_wrong_image_is_named():
    logits, image = scene(2)
    with pytest.raises(ValueError, match=r"of one size, got \[2, 6, 7, 2\] and \[2, 5, 7, 3\]"):
        layers.CRFasRNN(TERMS).init(jax.random.key(0), logits, image[:, 1:])
