import jax
import jax.numpy as jnp
import pytest

from jaxcv import models

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("name", "stage", "channels"),
    [
        ("mobilenet_v3_large", "features.13.block.0", 672),
        ("mobilenet_v3_small", "features.9.block.0", 288),
    ],
)
def test_c4_is_the_expansion_of_the_last_block_with_a_stride(name, stage, channels):
    # Section 6.3 of the paper: the 13th block of large, the 9th of small.
    model = models.create(name)
    outputs, _ = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((1, 224, 224, 3)))
    assert outputs["stages"][stage].shape == (1, 14, 14, channels)


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small"])
def test_a_dilated_network_has_the_variables_of_the_plain_one_and_stride_16(name):
    image = jnp.zeros((1, 64, 64, 3))
    plain, dilated = models.create(name), models.create(name, dilated=True)
    outputs, variables = jax.eval_shape(dilated.init_with_output, KEY, image)
    assert variables == jax.eval_shape(plain.init, KEY, image)
    assert {stage.shape[1] for stage in outputs["stages"].values()} == {32, 16, 8, 4}
