import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcv import layers, models
from jaxcv.models import mobilenet_v1
from tests.models import counting

KEY = jax.random.key(0)


def test_mobilenet_has_28_layers_with_weights():
    assert len(counting.weight_layers(models.create("mobilenetv1_100"), (64, 64, 3))) == 28


def test_a_separable_convolution_multiplies_a_ninth_as_often_as_a_full_one():
    full = layers.Conv(512, 3, padding=1, use_bias=False)
    separable = mobilenet_v1.SeparableBlock(
        512,
        strides=1,
        conv=functools.partial(layers.Conv, use_bias=False),
        norm=functools.partial(layers.BatchNorm, use_running_average=True),
    )
    assert counting.multiplications(full, (1, 14, 14, 512)) == [462_422_016]
    assert counting.multiplications(separable, (1, 14, 14, 512)) == [51_380_224, 903_168]
    assert pytest.approx(1 / 512 + 1 / 9) == (51_380_224 + 903_168) / 462_422_016


# Table 7 of the paper: millions of parameters.
@pytest.mark.parametrize(("alpha", "millions"), [(0.75, 2.6), (0.5, 1.3), (0.25, 0.5)])
def test_the_width_multiplier_gives_the_networks_of_the_paper(alpha, millions):
    model = models.create("mobilenetv1_100", width_multiplier=alpha)
    params = jax.eval_shape(model.init, KEY, jnp.zeros((1, 64, 64, 3)))["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert round(count / 1e6, 1) == millions


def test_the_resolution_multiplier_shrinks_every_map():
    model = models.create("mobilenetv1_100", resolution_multiplier=6 / 7)
    outputs, _ = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((1, 224, 224, 3)))
    sides = {name: stage.shape[1] for name, stage in outputs["stages"].items()}
    strides = mobilenet_v1.STRIDES["mobilenetv1_100"]
    assert sides == {name: 192 // stride for name, stride in strides.items()}
