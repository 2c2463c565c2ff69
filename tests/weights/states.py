"""State dicts for tests."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import models, weights


def state_of(name, **overrides):
    """A state dict that fits a LeNet or a ResNet for CIFAR, of random values."""
    model = models.create(name, **overrides)
    image = jnp.zeros((1, 28, 28, 1) if name.startswith("lenet") else (1, 32, 32, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: random.normal(size=s.shape).astype(s.dtype), shapes)
    return weights.to_state_dict(model, variables)


def assert_same(got, want):
    """The same keys, and equal values of the same dtype."""
    assert set(got) == set(want)
    for key, array in want.items():
        np.testing.assert_array_equal(got[key], array, err_msg=key, strict=True)
