import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers


def test_dense_is_a_product_and_a_bias_whatever_the_axes():
    for shape in ((3,), (2, 3), (2, 5, 3)):
        inputs = jax.random.normal(jax.random.key(0), shape)
        outputs, variables = layers.Dense(4).init_with_output(jax.random.key(1), inputs)
        params = variables["params"]
        np.testing.assert_allclose(outputs, inputs @ params["kernel"], rtol=1e-6, atol=1e-6)
        assert params["bias"].shape == (4,)


def test_dense_keeps_a_precision_that_is_asked_for_and_refuses_an_unknown_one():
    image = jnp.ones((2, 3))
    layer = layers.Dense(4, precision="highest")
    lowered = jax.jit(layer.init_with_output).trace(jax.random.key(0), image)
    assert "HIGHEST" in lowered.lower(lowering_platforms=("cuda",)).as_text()
    with pytest.raises(ValueError, match="bogus"):
        layers.Dense(4, precision="bogus").init(jax.random.key(0), image)
