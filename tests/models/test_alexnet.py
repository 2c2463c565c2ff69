import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models, ops
from tests import golden
from tests.models import counting

NARROW = {"widths": (2, 2, 2, 2, 2), "hidden": 2, "num_classes": 2}


def test_the_lectures_60_million_parameters_are_those_of_two_groups():
    two_groups, one_tower = counting.parameters("alexnet_2012"), counting.parameters("alexnet")
    assert (two_groups, one_tower) == (60_965_224, 61_100_840)


def sides(size, **overrides):
    """Of a square image's maps, fc6 as a 6x6 convolution of the last among them."""
    shapes = counting.stages("alexnet_2012", (1, size, size, 3), **NARROW, **overrides)
    kernel = jnp.zeros((6, 6, 2, 1))
    fc6 = jax.eval_shape(ops.conv, jnp.zeros(shapes["pool5"]), kernel)
    maps = {name: shape[1] for name, shape in shapes.items() if len(shape) == 4}
    return maps | {"fc6": fc6.shape[1]}


def test_maps_of_the_papers_image_have_the_papers_sizes():
    want = {"conv1": 55, "norm1": 55, "pool1": 27, "conv2": 27, "norm2": 27, "pool2": 13}
    want |= {"conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6, "fc6": 1}
    assert sides(227) == want


@pytest.mark.parametrize(("ceil_mode", "pool5", "fc6"), [(True, 15, 10), (False, 14, 9)])
def test_an_image_of_500_pixels_gives_10_by_10_places_only_if_pools_round_up(ceil_mode, pool5, fc6):
    got = sides(500, ceil_mode=ceil_mode)
    same = {"conv1": 123, "pool1": 61, "conv2": 61, "pool2": 30, "conv3": 30, "conv5": 30}
    assert {name: got[name] for name in same} == same
    assert (got["pool5"], got["fc6"]) == (pool5, fc6)


def test_fc6_sees_355_pixels():
    # Of its third place in a row, whose field starts at the image's edge: 32 * 2 - 64.
    model = models.create("alexnet_2012", **NARROW)
    image = jnp.zeros((1, 67, 500, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)

    @jax.jit
    def poisoned(column):
        pool5 = model.apply(variables, image.at[:, :, column].set(jnp.nan))["stages"]["pool5"]
        return jnp.isnan(pool5[:, :, 2:8]).any()

    assert [bool(poisoned(column)) for column in (0, 354, 355)] == [True, True, False]


def test_a_group_sees_its_half_of_the_channels():
    model = models.create("alexnet_2012", **NARROW)
    image = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 67, 67, 3)), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    random = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: random.uniform(0.1, 1, leaf.shape), shapes)
    apply = jax.jit(lambda v: model.apply(v, image)["stages"])
    whole = apply(variables)
    # With the second channel of norm1 gone from the weights, the first half does not notice.
    kernel = variables["params"]["conv2"]["kernel"]  # [5, 5, 1, 2]
    variables["params"]["conv2"]["kernel"] = kernel * np.array([1, 0])
    half = apply(variables)
    golden.assert_close(half["conv2"][..., 0], whole["conv2"][..., 0])
    bias = variables["params"]["conv2"]["bias"][1]
    golden.assert_close(half["conv2"][..., 1], np.full_like(half["conv2"][..., 1], bias))
