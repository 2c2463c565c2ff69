import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, models, weights
from tests import golden
from tests.weights import states

SMALL = {"depth": 8, "width": 4}  # of the ResNets for CIFAR

# Of the models below.
STATE_DICT = {
    "image": (4, 4, 3),
    "renamed": {r"^old\.": "new.", r"gamma$": "weight"},
    "as_1x1": (r"head\.weight",),
    "optional": (r"aux\..*",),
}


class Odd(nn.Module):
    """A model whose checkpoint is odd, as STATE_DICT tells."""

    @nn.compact
    def __call__(self, image, train=False):
        x = Table(window=2, name="table")(layers.LayerNorm(name="new.norm")(image))
        return nn.Dense(5, name="head")(x.mean((1, 2)))


class Table(nn.Module):
    window: int

    @nn.compact
    def __call__(self, x):
        return x + self.param("bias_table", nn.initializers.zeros, (self.window, 3))[0]


STATE_DICT["derived"] = {Table: {"index": lambda module: np.arange(module.window)}}
ODD_STATE = {
    "new.norm.weight": np.arange(3, dtype=np.float32),
    "new.norm.bias": np.ones(3, np.float32),
    "table.bias_table": np.ones((2, 3), np.float32),
    "head.weight": np.arange(15, dtype=np.float32).reshape(5, 3, 1, 1),
    "head.bias": np.zeros(5, np.float32),
    "table.index": np.array([0, 1]),
}


def test_resnet20_reads_and_writes_the_keys_of_the_reference():
    meta, arrays = golden.load("training/resnet20_cifar.npz")
    state = golden.recipe().state_dict(meta, arrays)
    variables = weights.convert("resnet20", state)
    kernel = variables["params"]["layer2.0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(
        kernel, state["layer2.0.conv1.weight"].transpose(2, 3, 1, 0), strict=True
    )
    states.assert_same(weights.to_state_dict(models.create("resnet20"), variables), state)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("lenet5", {}),
        ("lenet5_1998", {}),
        ("resnet20", SMALL),
        ("resnet20", SMALL | {"remat": True}),
    ],
)
def test_there_and_back_every_value_keeps_its_bits(name, overrides):
    state = states.state_of(name, **overrides)
    variables = weights.convert(name, state, **overrides)
    back = weights.to_state_dict(models.create(name, **overrides), variables)
    states.assert_same(back, state)


def test_each_kind_of_layer_has_the_layout_of_the_reference():
    class Layers(nn.Module):
        @nn.compact
        def __call__(self, image, train=False):
            x = layers.Conv(4, (2, 3), groups=2, name="conv")(image)
            x = layers.ConvTranspose(6, (2, 3), groups=2, name="up")(x)
            x = layers.PReLU(name="relu")(layers.BatchNorm(True, name="norm")(x))
            token = self.param("class_token", nn.initializers.zeros, (1, 1, 7))
            words = nn.Embed(9, 7, name="words")(jnp.zeros(3, int))
            return nn.Dense(5, name="fc.0")(x.mean((1, 2))), token, words

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
            "fc.0.weight": (5, 6),  # out, in
            "fc.0.bias": (5,),
        }.items()
    }
    model = Layers()
    variables = weights.to_variables(model, state, image_shape=(8, 8, 8))
    up = variables["params"]["up"]["kernel"]
    np.testing.assert_array_equal(up, state["up.weight"].transpose(2, 3, 0, 1))
    back = weights.to_state_dict(model, variables, image_shape=(8, 8, 8))
    assert back.pop("norm.num_batches_tracked") == np.zeros((), np.int64)
    assert list(back) == list(state)
    states.assert_same(back, state)


def test_an_odd_checkpoint_is_read_and_written_by_its_rules():
    old = {
        key.replace("new.norm.weight", "old.norm.gamma").replace("new.", "old."): array
        for key, array in ODD_STATE.items()
    }
    variables = weights.to_variables(Odd(), old | {"aux.fc.weight": np.ones(3)})
    np.testing.assert_array_equal(
        variables["params"]["head"]["kernel"], ODD_STATE["head.weight"][:, :, 0, 0].T
    )
    states.assert_same(weights.to_state_dict(Odd(), variables), ODD_STATE)


def test_buffers_that_follow_from_the_model_may_be_absent_but_not_wrong():
    without = {key: array for key, array in ODD_STATE.items() if key != "table.index"}
    weights.to_variables(Odd(), without)
    with pytest.raises(ValueError, match=r"table\.index is not what the model's attributes make"):
        weights.to_variables(Odd(), ODD_STATE | {"table.index": np.array([1, 0])})


def test_a_key_that_comes_old_and_new_is_named():
    with pytest.raises(ValueError, match=r"new\.norm\.bias twice"):
        weights.to_variables(Odd(), ODD_STATE | {"old.norm.bias": np.ones(3)})


def test_all_that_does_not_fit_is_listed():
    state = states.state_of("lenet5")
    del state["conv1.bias"], state["fc2.weight"]
    state |= {"fc1.bias": np.ones(7), "fc3.bias": np.ones(10, int), "fc4.bias": np.ones(1)}
    with pytest.raises(ValueError, match="does not fit LeNet5") as caught:
        weights.convert("lenet5", state)
    assert str(caught.value).splitlines()[1:] == [
        "missing (2): conv1.bias, fc2.weight",
        "unexpected (1): fc4.bias",
        "shapes (2): fc1.bias is [7], not [120], fc3.bias is int64, not floating",
    ]


def test_values_of_half_precision_and_vectors_with_an_axis_of_one_are_taken():
    state = states.state_of("resnet20", **SMALL)
    odd = {"module." + k: a.reshape(-1, *a.shape).astype(np.float16) for k, a in state.items()}
    odd |= {key: array[0] for key, array in odd.items() if array.ndim != 2}
    variables = weights.convert("resnet20", odd, **SMALL)
    scale = variables["params"]["layer1.0"]["bn1"]["scale"]
    expected = state["layer1.0.bn1.weight"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(scale, expected, strict=True)


@pytest.mark.parametrize("prefix", ["module.module.", "_orig_mod.module.", "module._orig_mod."])
def test_prefixes_of_all_keys_are_dropped_however_often(prefix):
    state = states.state_of("resnet20", **SMALL)
    wrapped = {prefix + key: array for key, array in state.items()}
    variables = weights.convert("resnet20", wrapped, **SMALL)
    states.assert_same(weights.to_state_dict(models.create("resnet20", **SMALL), variables), state)


def test_the_counter_of_averaged_weights_is_dropped_beside_their_prefix_alone():
    state, counter = states.state_of("lenet5"), {"n_averaged": np.array(7)}
    wrapped = {"module." + key: array for key, array in state.items()}
    variables = weights.convert("lenet5", counter | wrapped)
    states.assert_same(weights.to_state_dict(models.create("lenet5"), variables), state)
    for odd in (counter | state, counter):
        with pytest.raises(ValueError, match=r"unexpected \(1\): n_averaged"):
            weights.convert("lenet5", odd)


TINY = {"patch_size": 4, "depth": 1, "hidden_size": 8, "mlp_size": 16, "heads": 2}


@pytest.mark.parametrize("name", ["vit_b_16", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("pool", ["token", "gap"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_position_embeddings_become_those_that_the_network_makes_for_that_size(name, pool, dtype):
    small = TINY | {"pool": pool, "num_classes": 3}
    model, larger = (models.create(name, **small, image_size=size) for size in (16, 24))
    image = np.random.default_rng(1).uniform(-1, 1, (1, 24, 24, 3)).astype(np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: random.normal(size=s.shape).astype(dtype), shapes)
    state = weights.to_state_dict(model, variables)
    said = []
    got = weights.convert(name, state, **small, image_size=24, say=said.append)
    wide = weights.convert(name, state, **small, image_size=16, say=said.append)
    position = model.names.position
    assert said == [f"Resampled for image_size=24: {position}."]
    assert got["params"][position].dtype == np.float32
    golden.assert_close(larger.apply(got, image)["logits"], model.apply(wide, image)["logits"])
    written = weights.to_state_dict(larger, got)[position]
    assert written.shape == (1, 36 + (pool == "token"), 8)


def test_position_embeddings_are_resampled_for_an_image_size_that_is_asked_for_alone():
    small = TINY | {"num_classes": 3}
    image = jnp.zeros((1, 256, 256, 3))
    model = models.create("vit_b_16", **small, image_size=256)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    state = weights.to_state_dict(model, jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes))
    message = r"\[1, 4097, 8\], not \[1, 3137, 8\]\nOnly the images' size.* give image_size=224 to"
    with pytest.raises(ValueError, match=message):
        weights.convert("vit_b_16", state, **small)
    variables = weights.convert("vit_b_16", state, **small, image_size=224, say=lambda _: None)
    position = "encoder.pos_embedding"
    assert variables["params"][position].shape == (1, 3137, 8)
    for shape in [(1, 4096, 8), (1, 4097, 7), (4097, 8)]:
        odd = state | {position: np.ones(shape, np.float32)}
        with pytest.raises(ValueError, match=r"3137, 8\]$"):
            weights.convert("vit_b_16", odd, **small, image_size=224)


def test_a_head_of_another_size_is_drawn_anew_on_request():
    state = states.state_of("lenet5")
    with pytest.raises(ValueError, match=r"Only the head differs.*draw fc3\.weight, fc3\.bias"):
        weights.convert("lenet5", state, num_classes=7)
    said = []
    variables = weights.convert(
        "lenet5", state, num_classes=7, new_head=jax.random.key(3), say=said.append
    )
    assert said == ["Drawn anew for 7 classes: fc3.weight, fc3.bias."]
    head = variables["params"]["fc3"]
    assert head["kernel"].shape == (84, 7)
    np.testing.assert_allclose(head["kernel"].std(), 84**-0.5, rtol=0.1)  # as Flax draws it
    assert (head["bias"] == 0).all()
    np.testing.assert_array_equal(variables["params"]["fc2"]["kernel"], state["fc2.weight"].T)


def test_images_of_other_channels_are_given_by_their_shape():
    state = states.state_of("lenet5")
    colour = state | {"conv1.weight": np.repeat(state["conv1.weight"], 3, axis=1)}
    with pytest.raises(ValueError, match=r"conv1\.weight is \[6, 3, 5, 5\], not \[6, 1, 5, 5\]"):
        weights.convert("lenet5", colour)
    variables = weights.convert("lenet5", colour, image_shape=(28, 28, 3))
    assert variables["params"]["conv1"]["kernel"].shape == (5, 5, 3, 6)


def test_converting_does_not_share_memory_with_what_was_given():
    state = states.state_of("lenet5")
    variables = weights.convert("lenet5", state)
    state["fc1.bias"][:] = 7
    assert (variables["params"]["fc1"]["bias"] != 7).all()


def test_variables_of_another_model_are_not_written():
    variables = weights.convert("lenet5", states.state_of("lenet5"))
    del variables["params"]["fc1"]
    with pytest.raises(ValueError, match=r"of LeNet5:\nmissing \(2\): params/fc1/kernel"):
        weights.to_state_dict(models.create("lenet5"), variables)


def test_an_unknown_rule_is_named(monkeypatch):
    monkeypatch.setitem(STATE_DICT, "rename", {})
    with pytest.raises(ValueError, match=r"\['rename'\], which must be of image, renamed"):
        weights.to_variables(Odd(), ODD_STATE)


def test_the_interface_is_that_of_the_published_files():
    assert weights.interface("inception_v3") == ((299, 299, 3), 1000)
    assert weights.interface("alexnet") == ((224, 224, 3), 1000)
    assert weights.interface("alexnet_2012") == ((227, 227, 3), 1000)
    assert weights.interface("lenet5", num_classes=7) == ((28, 28, 1), 7)
