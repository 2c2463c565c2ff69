import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models
from tests.models import small


def test_the_map_by_hand():
    # Channels 1 2 / 3 4 and 0 1 / 0 1; weights 2 and -1 for class 0, 0 and 5 for class 1.
    features = jnp.array([[[1.0, 0], [2, 1]], [[3, 0], [4, 1]]])
    kernel = jnp.array([[2.0, 0], [-1, 5]])
    got = models.class_activation_map(features, kernel, jnp.array([1, 0]))
    np.testing.assert_array_equal(got, [[[0, 5], [0, 5]], [[2, 3], [6, 7]]])


@pytest.mark.parametrize("file", ["resnet", "densenet", "mobilenet_v1", "swin"])
def test_the_mean_of_the_map_and_the_bias_are_the_logit(file):
    model, image = small.network(file)
    variables = small.random_variables(model, image)
    head = models.pooled_head(model)

    @jax.jit
    def both(variables):
        features, kernel, bias = head(variables, image)
        maps = jax.vmap(models.class_activation_map, (0, None, None))
        values = maps(features, kernel, jnp.arange(small.CLASSES))
        return values.mean((2, 3)) + bias, values, model.apply(variables, image)["logits"]

    logits, values, want = both(variables)
    assert values.shape[:2] == (2, small.CLASSES)
    assert min(values.shape[2:]) > 1
    assert values.std() > 0.01
    np.testing.assert_allclose(logits, want, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("file", ["alexnet", "convnext", "lenet", "mobilenet_v3", "vgg", "vit"])
def test_networks_that_end_otherwise_are_refused(file):
    model, _ = small.network(file)
    with pytest.raises(ValueError, match=f"{type(model).__name__} has no class .* global average"):
        models.pooled_head(model)


def test_arrays_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"got \[2, 4, 4, 8\] and \[8, 5\].*vmap"):
        models.class_activation_map(jnp.zeros((2, 4, 4, 8)), jnp.zeros((8, 5)), jnp.arange(2))
