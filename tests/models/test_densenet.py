import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import models, weights

SMALL = {"growth_rate": 2, "block_config": (2, 1), "num_init_features": 4, "num_classes": 3}


def state():
    """A state dict that fits: every value differs from every other."""
    model = models.create("densenet121", **SMALL)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: random.normal(size=s.shape).astype(s.dtype), shapes)
    return weights.to_state_dict(model, variables)


def test_the_published_files_older_keys_are_read():
    new = state()
    old = {}
    for key, array in new.items():
        for word in ("norm1", "norm2", "conv1", "conv2"):
            key = key.replace(f".{word}.", f".{word[:-1]}.{word[-1]}.")
        old[key] = array
    assert "features.denseblock1.denselayer2.norm.1.running_mean" in old
    want = weights.convert("densenet121", new, **SMALL)
    got = weights.convert("densenet121", old, **SMALL)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_each_layer_sees_all_maps_before_it_and_adds_k():
    rows = models.layer_rows(models.create("densenet121"), (1, 224, 224, 3))
    new = {row.name: row for row in rows if row.name.startswith("features.denseblock3")}
    for layer in range(1, 25):
        name = f"features.denseblock3.denselayer{layer}"
        assert new[f"{name}.conv1"].parameters == (256 + 32 * (layer - 1)) * 128
        assert new[f"{name}.conv2"].shape == (1, 14, 14, 32)


def test_dropped_maps_are_those_that_a_layer_adds():
    model = models.create("densenet121", **SMALL, drop_rate=0.99, frozen_norm=True)
    image = jnp.ones((1, 32, 32, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5), shapes)

    @jax.jit
    def stages(key):
        return model.apply(variables, image, train=True, rngs={"dropout": key})["stages"]

    block = np.asarray(stages(jax.random.key(1))["features.denseblock1"])
    assert np.all(block[..., :4] > 0)
    assert np.mean(block[..., 4:] == 0) > 0.9
