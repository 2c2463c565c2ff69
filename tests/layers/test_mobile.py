import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("channels", "rounded"),
    [
        (32 * 1.25, 40),
        (4, 8),  # never below the divisor
        (20, 24),  # half way: up
        (91, 88),
        (10, 16),  # 8 would lose a fifth
        (8.8, 8),
    ],
)
def test_widths_are_rounded_without_losing_a_tenth(channels, rounded):
    assert layers.round_channels(channels) == rounded


def test_squeeze_and_excitation_by_hand():
    # Means 2 and 4; fc1 adds them: 6; fc2 gives gates sigmoid(6) and sigmoid(-6).
    image = jnp.array([[[[1.0, 4.0]], [[3.0, 4.0]]]])  # [1, 2, 1, 2]
    params = {
        "fc1": {"kernel": np.ones((1, 1, 2, 1)), "bias": np.zeros(1)},
        "fc2": {"kernel": np.array([1.0, -1.0]).reshape(1, 1, 1, 2), "bias": np.zeros(2)},
    }
    output = layers.SqueezeExcitation(1).apply({"params": params}, image)
    gates = 1 / (1 + np.exp([-6.0, 6.0]))
    np.testing.assert_allclose(output, image * gates, rtol=1e-6)


def inverted_residual(**options):
    return layers.InvertedResidual(8, 16, layers.ConvNorm, **options)


def test_the_input_of_an_inverted_residual_is_added_only_where_shapes_agree():
    image = jnp.ones((1, 6, 6, 8))
    cases = {
        "same": ({}, image, (6, 6)),
        "stride": ({"strides": 2}, image, (3, 3)),
        "atrous in place of a stride": ({"strides": 2, "dilation": 2}, image, (6, 6)),
        "channels": ({}, image[..., :4], (6, 6)),
    }
    added = []
    for name, (options, x, size) in cases.items():
        block = inverted_residual(**options)
        shapes = jax.eval_shape(block.init, KEY, x)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
        output, expanded = block.apply(zeros, x)  # the branch gives 0
        assert output.shape[1:3] == size, name
        assert expanded.shape == (1, 6, 6, 16), name
        if output.any():
            np.testing.assert_array_equal(output, x)
            added.append(name)
    assert added == ["same"]


def test_nothing_is_expanded_where_there_are_as_many_channels():
    block = layers.InvertedResidual(8, 8, layers.ConvNorm, squeezed=2)
    shapes = jax.eval_shape(block.init, KEY, jnp.ones((1, 6, 6, 8)))["params"]
    kernels = {name: tree["0"]["kernel"].shape for name, tree in shapes.items() if "0" in tree}
    assert kernels == {"block.0": (3, 3, 1, 8), "block.2": (1, 1, 8, 8)}
    assert set(shapes["block.1"]) == {"fc1", "fc2"}


def test_drop_path_leaves_out_whole_branches_in_training_alone():
    image = jnp.zeros((64, 2, 2, 8))
    block = inverted_residual(drop_path=0.5, deterministic=False)
    shapes = jax.eval_shape(block.init, {"params": KEY, "dropout": KEY}, image)
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    branch = block.clone(deterministic=True).apply(ones, image)[0]
    dropped = block.apply(ones, image, rngs={"dropout": KEY})[0]
    assert branch.min() > 0
    kept = dropped[:, 0, 0, 0] > 0
    assert 16 < kept.sum() < 48  # of 64, in expectation half
    np.testing.assert_allclose(
        dropped, jnp.where(kept[:, None, None, None], 2 * branch, 0), rtol=1e-6
    )


def test_convolution_with_norm_has_the_names_of_torchvision():
    block = layers.ConvNorm(4, 5, strides=2, activation=nn.relu6)
    output, variables = jax.eval_shape(block.init_with_output, KEY, jnp.ones((1, 9, 8, 3)))
    assert output.shape == (1, 5, 4, 4)
    assert set(variables["params"]) == {"0", "1"}
    assert set(variables["params"]["0"]) == {"kernel"}
