import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models, ops
from jaxcv.models import vit
from tests import golden
from tests.models import training

KEY = jax.random.key(0)
FILE = "training/vit_tiny.npz"

# The network of that file.
TINY = {
    **{"image_size": 32, "patch_size": 8, "depth": 2, "heads": 4, "hidden_size": 32},
    **{"mlp_size": 64, "num_classes": 10},
}


def tiny(**overrides):
    return models.create("vit_b_16", **{**TINY, **overrides})


def random_variables(model, image):
    shapes = jax.eval_shape(model.init, KEY, image)
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: random.uniform(-0.3, 0.3, leaf.shape).astype(np.float32), shapes
    )


def test_ten_training_steps_equal_the_reference():
    # In float64, to the rounding of the stored values.
    with jax.enable_x64(True):
        run = training.ten_steps(tiny(), FILE, np.float64)
        training.assert_equal(run, "", error=1e-7)


def test_the_first_step_in_single_precision_equals_the_reference():
    run = training.ten_steps(tiny(), FILE)
    training.assert_equal(run, "eval_logits_start", "train_logits_start", "grad/", "after1/")
    golden.assert_close(run.got["losses"], run.want["losses"], floor=1e-4)


def test_an_image_of_224_pixels_is_197_tokens_embedded_by_590592_parameters():
    model = models.create("vit_b_16")
    outputs, variables = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((2, 224, 224, 3)))
    assert outputs["stages"]["encoder.dropout"].shape == (2, 197, 768)
    patches = jax.tree.leaves(variables["params"]["conv_proj"])
    assert sum(leaf.size for leaf in patches) == 590_592


def test_position_embeddings_are_interpolated_to_other_sizes():
    model, image = tiny(), np.random.default_rng(1).uniform(-1, 1, (1, 48, 24, 3))
    variables = random_variables(model, jnp.zeros((1, 32, 32, 3)))
    stages = model.apply(variables, image)["stages"]
    stored = variables["params"]["encoder.pos_embedding"][0]  # [1 + 4 x 4, 32]
    resized = ops.resize(
        stored[1:].reshape(4, 4, 32), (6, 3), mode="bicubic", antialias=True
    ).reshape(18, 32)
    tokens = stages["conv_proj"].reshape(18, 32)
    golden.assert_close(stages["encoder.dropout"][0, 1:], tokens + resized)
    golden.assert_close(
        stages["encoder.dropout"][0, 0], variables["params"]["class_token"][0, 0] + stored[0]
    )
    assert stages["map"].shape == (1, 6, 3, 32)


def test_attention_maps_are_there_on_request():
    model, image = tiny(), jnp.ones((2, 32, 32, 3))
    variables = random_variables(model, image)
    outputs, state = model.apply(variables, image, mutable=["intermediates"])
    maps = {name: tree["attention"][0] for name, tree in state["intermediates"].items()}
    assert set(maps) == {f"encoder.layers.encoder_layer_{i}" for i in (0, 1)}
    for weights in maps.values():
        assert weights.shape == (2, 4, 17, 17)
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    assert set(outputs) == {"logits", "stages"}
    assert "intermediates" not in jax.eval_shape(model.init, KEY, image)


def test_pooling_by_the_mean_needs_no_class_token():
    model, image = tiny(pool="gap"), jnp.ones((2, 32, 32, 3))
    variables = random_variables(model, image)
    assert "class_token" not in variables["params"]
    assert variables["params"]["encoder.pos_embedding"].shape == (1, 16, 32)
    outputs = model.apply(variables, image)
    head = variables["params"]["heads.head"]
    means = outputs["stages"]["map"].mean((1, 2))
    golden.assert_close(outputs["logits"], means @ head["kernel"] + head["bias"])


def test_both_layouts_are_one_network():
    image = np.random.default_rng(1).uniform(-1, 1, (1, 32, 32, 3))
    ours, timm = tiny(), tiny(names=vit.TIMM)
    variables = random_variables(ours, image)["params"]

    def block(tree):
        weight = tree["self_attention"]
        qkv = {"kernel": weight["in_proj_weight"].T, "bias": weight["in_proj_bias"]}
        renamed = {
            **{"norm1": "ln_1", "attn.proj": "self_attention.out_proj", "norm2": "ln_2"},
            **{"mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3"},
        }
        return {"attn.qkv": qkv, **{new: tree[old] for new, old in renamed.items()}}

    renamed = {
        **{"cls_token": "class_token", "pos_embed": "encoder.pos_embedding"},
        **{"patch_embed.proj": "conv_proj", "norm": "encoder.ln", "head": "heads.head"},
    }
    params = {new: variables[old] for new, old in renamed.items()}
    for i in (0, 1):
        params[f"blocks.{i}"] = block(variables[f"encoder.layers.encoder_layer_{i}"])
    want = ours.apply({"params": variables}, image)["logits"]
    golden.assert_close(timm.apply({"params": params}, image)["logits"], want)


def test_drop_path_rises_linearly_to_that_of_the_last_block():
    model = tiny(depth=5, drop_path=0.4)
    rates = []

    def record(call, args, kwargs, context):
        if isinstance(context.module, vit.Block):
            rates.append(context.module.drop_path)
        return call(*args, **kwargs)

    with vit.nn.intercept_methods(record):
        jax.eval_shape(lambda: model.init(KEY, jnp.zeros((1, 32, 32, 3))))
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("overrides", "shape", "message"),
    [
        ({}, (1, 32, 30, 3), r"sides divisible by the patch's 8, got \[1, 32, 30, 3\]"),
        ({"pool": "mean"}, (1, 32, 32, 3), "pool must be .*got 'mean'"),
        ({"hidden_size": 30}, (1, 32, 32, 3), "hidden_size must be a multiple of the 4 heads"),
    ],
)
def test_what_does_not_fit_is_named(overrides, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(tiny(**overrides).init, KEY, jnp.zeros(shape))
