import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers
from tests import golden
from tests.meets import assert_meets

FILE = "ops/layers.npz"
TORCH = "torch.nn.functional."


def applied(layer, inputs, channels=1, **collections):
    """The layer between the reference's layout, channels on axis `channels`, and ours."""
    params = {
        ours: inputs[theirs]
        for ours, theirs in (("scale", "weight"), ("bias", "bias"))
        if theirs in inputs
    }
    image = jnp.moveaxis(inputs["input"], channels, -1)
    output, state = layer.apply({"params": params, **collections}, image, mutable=list(collections))
    return jnp.moveaxis(output, -1, channels), state


@pytest.mark.parametrize("case", golden.cases(FILE, "batch_norm"), ids=lambda c: c.name)
def test_batch_norm_equals_torch(case):
    layer = layers.BatchNorm(
        use_running_average=not case.arguments["training"],
        momentum=case.arguments["momentum"],
        epsilon=case.arguments["eps"],
    )

    def function(inputs):
        running = {"mean": inputs["running_mean"], "var": inputs["running_var"]}
        output, state = applied(layer, inputs, batch_stats=running)
        return output, state["batch_stats"]["mean"], state["batch_stats"]["var"]

    assert_meets(case, function, ["output", "running_mean", "running_var"])


@pytest.mark.parametrize("case", golden.cases(FILE, TORCH + "group_norm"), ids=lambda c: c.name)
def test_group_norm_equals_torch(case):
    layer = layers.GroupNorm(case.arguments["num_groups"])
    assert_meets(case, lambda inputs: applied(layer, inputs)[:1])


@pytest.mark.parametrize("case", golden.cases(FILE, TORCH + "instance_norm"), ids=lambda c: c.name)
def test_instance_norm_equals_torch(case):
    layer = layers.InstanceNorm(use_scale=True, use_bias=True)
    assert_meets(case, lambda inputs: applied(layer, inputs)[:1])


@pytest.mark.parametrize(
    "case",
    golden.cases(FILE, TORCH + "layer_norm", "layer_norm_channels_first"),
    ids=lambda c: c.name,
)
def test_layer_norm_equals_torch(case):
    affine = "weight" in case.inputs
    layer = layers.LayerNorm(
        epsilon=case.arguments.get("eps"),
        reduction_axes=tuple(range(-len(case.arguments.get("normalized_shape", "C")), 0)),
        use_scale=affine,
        use_bias=affine,
    )
    channels = 1 if case.function == "layer_norm_channels_first" else -1
    assert_meets(case, lambda inputs: applied(layer, inputs, channels)[:1])


@pytest.mark.parametrize(
    "norm",
    [
        functools.partial(layers.BatchNorm, use_running_average=False),
        functools.partial(layers.GroupNorm, num_groups=1),
        layers.InstanceNorm,
        layers.LayerNorm,
    ],
    ids=["batch", "group", "instance", "layer"],
)
def test_a_large_mean_costs_no_digits(norm):
    # Values of 4096 +- 1: E[x^2] - E[x]^2 in float32 would be off by 1 or more. The layers' own
    # epsilon of 1e-5 leaves 1 / sqrt(1 + 1e-5).
    image = 4096 + jnp.array([[-1.0, 1], [1, -1]])[None, :, :, None] * jnp.array([1.0, -1])
    output, _ = norm().init_with_output(jax.random.key(0), image)
    np.testing.assert_allclose(output, (image - 4096) / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_batch_norm_over_two_devices_equals_one_over_the_joined_batch():
    layer = layers.BatchNorm(use_running_average=False)
    image = 3 + jax.random.normal(jax.random.key(0), (2, 3, 2, 2, 4)) * jnp.arange(1.0, 5)
    cotangent = jax.random.normal(jax.random.key(1), image.shape)
    variables = layer.init(jax.random.key(0), image[0])

    def loss(params, image, cotangent):
        output, state = layer.apply({**variables, "params": params}, image, mutable=["batch_stats"])
        return (output * cotangent).sum(), (output, state)

    gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, (want, state)), (params, wrt_image) = jax.jit(gradients)(
        variables["params"], image.reshape(6, 2, 2, 4), cotangent.reshape(6, 2, 2, 4)
    )

    split = jax.pmap(gradients, "device", in_axes=(None, 0, 0), devices=jax.devices()[:2])
    (_, (got, states)), (params_each, wrt_image_each) = split(variables["params"], image, cotangent)
    close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5)
    close(got.reshape(want.shape), want)
    close(wrt_image_each.reshape(want.shape), wrt_image)
    jax.tree.map(lambda one, each: close(each, np.stack([one, one])), state, states)
    # Each device holds the gradient of its own examples' loss; the training step adds them.
    jax.tree.map(lambda one, each: close(each.sum(0), one), params, params_each)


def test_batch_norm_in_bfloat16_has_float32_statistics():
    layer = layers.BatchNorm(use_running_average=False, dtype=jnp.bfloat16)
    image = jnp.full((4, 8, 8, 1), 1 / 256, jnp.bfloat16).at[0, 0, 0].set(1)
    variables = layer.init(jax.random.key(0), image)
    output, state = layer.apply(variables, image, mutable=["batch_stats"])
    assert output.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, state))} == {jnp.dtype("float32")}
    # In bfloat16 the small values would vanish beside the 1.
    mean = (1 + 255 / 256) / 256
    np.testing.assert_allclose(state["batch_stats"]["mean"], 0.1 * mean, rtol=1e-6)


def test_batch_norm_leaves_its_statistics_when_initialised_or_used():
    layer = layers.BatchNorm()
    image = 5 + jnp.arange(8.0).reshape(4, 2)
    for use_running_average in (True, False):
        variables = layer.init(jax.random.key(0), image, use_running_average)
        np.testing.assert_array_equal(variables["batch_stats"]["mean"], [0, 0])
        np.testing.assert_array_equal(variables["batch_stats"]["var"], [1, 1])
    # Would raise if it wrote: the collection is not mutable.
    output = layer.apply(variables, image, use_running_average=True)
    np.testing.assert_allclose(output, image / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_batch_norm_refuses_to_train_on_one_value():
    with pytest.raises(ValueError, match=r"inputs \[1, 1, 1, 3\] have one value a channel"):
        layers.BatchNorm(use_running_average=False).init(jax.random.key(0), jnp.ones((1, 1, 1, 3)))


def test_a_normalised_batch_may_be_empty():
    for norm in (layers.GroupNorm(2), layers.InstanceNorm()):
        outputs, _ = norm.init_with_output(jax.random.key(0), jnp.zeros((0, 3, 3, 4)))
        assert outputs.shape == (0, 3, 3, 4)
