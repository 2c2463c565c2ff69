import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, ops


def test_conv_is_the_op_and_a_bias():
    image = jax.random.normal(jax.random.key(0), (1, 6, 7, 4))
    layer = layers.Conv(6, 3, strides=2, padding=1, groups=2, bias_init=nn.initializers.ones)
    variables = layer.init(jax.random.key(1), image)
    kernel = variables["params"]["kernel"]
    want = ops.conv(image, kernel, strides=2, padding=1, groups=2) + 1
    assert kernel.shape == (3, 3, 2, 6)
    np.testing.assert_array_equal(layer.apply(variables, image), want)


def test_conv_transpose_is_the_op_and_a_bias():
    image = jax.random.normal(jax.random.key(0), (1, 3, 2, 4))
    options = {"strides": 2, "padding": 1, "output_padding": (0, 1), "groups": 2}
    layer = layers.ConvTranspose(6, (4, 3), bias_init=nn.initializers.ones, **options)
    variables = layer.init(jax.random.key(1), image)
    kernel = variables["params"]["kernel"]
    assert kernel.shape == (4, 3, 4, 3)
    want = ops.conv_transpose(image, kernel, **options) + 1
    np.testing.assert_array_equal(layer.apply(variables, image), want)


def test_kernels_start_he_normal_and_biases_at_zero():
    layer = layers.Conv(256, 3, groups=2)
    params = layer.init(jax.random.key(0), jnp.zeros((1, 3, 3, 64)))["params"]
    # Fan-in 3 * 3 * 32; 73,728 draws know their deviation to half a per cent.
    np.testing.assert_allclose(params["kernel"].std(), np.sqrt(2 / 288), rtol=0.02)
    np.testing.assert_array_equal(params["bias"], np.zeros(256))


def test_conv_in_bfloat16_keeps_float32_parameters():
    image = jnp.ones((1, 4, 4, 2))
    layer = layers.Conv(3, (2, 2), dtype=jnp.bfloat16)
    output, variables = layer.init_with_output(jax.random.key(0), image)
    assert output.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("layer", [layers.Conv, layers.ConvTranspose])
def test_without_a_bias_there_is_none(layer):
    variables = layer(3, 1, use_bias=False).init(jax.random.key(0), jnp.ones((1, 2, 2, 2)))
    assert set(variables["params"]) == {"kernel"}


@pytest.mark.parametrize("layer", [layers.Conv, layers.ConvTranspose])
@pytest.mark.parametrize(("features", "groups"), [(4, 3), (3, 2), (4, 0)])
def test_groups_must_divide_the_channels(layer, features, groups):
    with pytest.raises(ValueError, match=f"groups must divide.* 4 channels.*got {groups}"):
        layer(features, 1, groups=groups).init(jax.random.key(0), jnp.ones((1, 2, 2, 4)))


@pytest.mark.parametrize("layer", [layers.Conv, layers.ConvTranspose])
@pytest.mark.parametrize("groups", [1, 2])
def test_an_image_of_other_channels_than_the_kernels_is_named(layer, groups):
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layer(6, 3, groups=groups, name="conv1")(x)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, image):
            return Block(name="layer1.0")(image)

    model = Network()
    image = jnp.ones((2, 8, 10, 4))
    variables = model.init(jax.random.key(0), image)
    model.apply(variables, image)
    message = r"image has 10 channels, layer1\.0/conv1 takes 4: .*B, H, W, C\], got \[2, 4, 8, 10\]"
    with pytest.raises(ValueError, match=message):
        model.apply(variables, image.transpose(0, 3, 1, 2))
