import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, models, weights
from tests import golden

SMALL = {"depth": 8, "width": 4}  # of the ResNets for CIFAR


def state_of(name, **overrides):
    """A state dict that fits: every value differs from every other."""
    shapes = jax.eval_shape(models.create(name, **overrides).init, jax.random.key(0), image(name))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: random.normal(size=s.shape).astype(s.dtype), shapes)
    return weights.to_state_dict(models.create(name, **overrides), variables)


def image(name):
    return jnp.zeros((1, 28, 28, 1) if name.startswith("lenet") else (1, 32, 32, 3))


def test_resnet20_reads_and_writes_the_keys_of_the_reference():
    meta, arrays = golden.load("training/resnet20_cifar.npz")
    state = golden.recipe().state_dict(meta, arrays)
    variables = weights.convert("resnet20", state)
    kernel = variables["params"]["layer2.0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(
        kernel, state["layer2.0.conv1.weight"].transpose(2, 3, 1, 0), strict=True
    )
    assert_same(weights.to_state_dict(models.create("resnet20"), variables), state)


@pytest.mark.parametrize(
    ("name", "overrides"), [("lenet5", {}), ("lenet5_1998", {}), ("resnet20", SMALL)]
)
def test_there_and_back_every_value_keeps_its_bits(name, overrides):
    state = state_of(name, **overrides)
    variables = weights.convert(name, state, **overrides)
    assert_same(weights.to_state_dict(models.create(name, **overrides), variables), state)


def test_each_kind_of_layer_has_the_layout_of_the_reference():
    class Layers(nn.Module):
        @nn.compact
        def __call__(self, image, train=False):
            x = layers.Conv(4, (2, 3), groups=2, name="conv")(image)
            x = layers.ConvTranspose(6, (2, 3), groups=2, name="up")(x)
            x = layers.PReLU(name="relu")(layers.BatchNorm(True, name="norm")(x))
            token = self.param("class_token", nn.initializers.zeros, (1, 1, 7))
            words = nn.Embed(9, 7, name="words")(jnp.zeros(3, int))
            return nn.Dense(5, name="head.0")(x.mean((1, 2))), token, words

    random = np.random.default_rng(0)
    state = {
        key: random.normal(size=shape).astype(np.float32)
        for key, shape in {
            "class_token": (1, 1, 7),
            "conv.weight": (4, 4, 2, 3),  # out, in / groups, h, w
            "conv.bias": (4,),
            "up.weight": (4, 3, 2, 3),  # in, out / groups, h, w
            "up.bias": (6,),
            "norm.weight": (6,),
            "norm.bias": (6,),
            "norm.running_mean": (6,),
            "norm.running_var": (6,),
            "relu.weight": (6,),
            "words.weight": (9, 7),
            "head.0.weight": (5, 6),  # out, in
            "head.0.bias": (5,),
        }.items()
    }
    model = Layers()
    variables = weights.to_variables(model, state, image_shape=(8, 8, 8))
    assert variables["params"]["up"]["kernel"].shape == (2, 3, 4, 3)
    back = weights.to_state_dict(model, variables, image_shape=(8, 8, 8))
    assert back.pop("norm.num_batches_tracked") == np.zeros((), np.int64)
    assert list(back) == list(state)
    assert_same(back, state)


def assert_same(got, want):
    assert set(got) == set(want)
    for key, array in want.items():
        np.testing.assert_array_equal(got[key], array, err_msg=key, strict=True)
