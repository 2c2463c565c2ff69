import jax
import jax.numpy as jnp
import numpy as np
import optax
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


def halves(seed, count=8, size=8):
    """(logits, image, truth): images of two halves, of which the logits know little."""
    keys = jax.random.split(jax.random.key(seed), 3)
    angle = jax.random.uniform(keys[0], (count, 1, 1), maxval=2 * np.pi)
    y, x = jnp.mgrid[:size, :size] - (size - 1) / 2
    truth = (y * jnp.cos(angle) + x * jnp.sin(angle) > 0).astype(jnp.int32)
    image = 0.6 * truth[..., None] + 0.1 * jax.random.normal(keys[1], (count, size, size, 3))
    logits = jax.nn.one_hot(truth, 2) + jax.random.normal(keys[2], (count, size, size, 2))
    return logits, image, truth


def test_training_through_the_layer_finds_the_weights_that_clean_other_images():
    layer = layers.CRFasRNN(
        [
            ops.Gaussian(1.0, 0.1, normalization="after"),
            ops.Bilateral(4.0, 0.2, 0.1, normalization="after"),
        ],
        iterations=3,
        filter="exact",
    )
    logits, image, truth = halves(0)
    params = layer.init(jax.random.key(0), logits, image)
    optimizer = optax.adam(0.1)

    def loss(params):
        refined = layer.apply(params, logits, image)
        return optax.softmax_cross_entropy_with_integer_labels(refined, truth).mean()

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    def accuracy(params):
        logits, image, truth = halves(1)
        return np.mean(layer.apply(params, logits, image).argmax(-1) == truth)

    before, state = accuracy(params), optimizer.init(params)
    for _ in range(20):
        params, state = step(params, state)
    assert before < 0.8
    assert accuracy(params) > 0.98


def test_a_wrong_image_is_named():
    logits, image = scene(2)
    with pytest.raises(ValueError, match=r"of one size, got \[2, 6, 7, 2\] and \[2, 5, 7, 3\]"):
        layers.CRFasRNN(TERMS, filter="exact").init(jax.random.key(0), logits, image[:, 1:])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filter": "lattice"}, r"max_points must be given for the filter 'lattice'.*'exact'"),
        ({"iterations": -1}, r"iterations must be an int, 0 or more, got -1"),
        ({"iterations": 1.5}, r"iterations must be an int, 0 or more, got 1.5"),
        (
            {"terms": [ops.Pairwise(ops.exact_kernel(np.zeros((42, 1))), 1.0)]},
            r"terms must be Gaussian or Bilateral, got Pairwise",
        ),
        (
            {"terms": [ops.Gaussian(2.0, -np.ones(2))]},
            r"compatibility of a term must be a number.*got array\(\[-1., -1.\]\)",
        ),
    ],
)
def test_a_field_that_cannot_be_is_named(fields, message):
    layer = layers.CRFasRNN(**({"terms": TERMS, "filter": "exact"} | fields))
    with pytest.raises(ValueError, match=message):
        layer.init(jax.random.key(0), *scene(2))


def test_parameters_are_single_precision_whatever_the_logits_are():
    with jax.enable_x64(True):
        logits, image = (array.astype(jnp.float64) for array in scene(2))
        layer = layers.CRFasRNN(TERMS[:1], iterations=1, filter="exact")
        refined, variables = layer.init_with_output(jax.random.key(0), logits, image)
        assert refined.dtype == jnp.float64
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
