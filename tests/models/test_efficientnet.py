import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, models
from jaxcv.models import efficientnet
from tests.models import counting

KEY = jax.random.key(0)


def test_b0_has_82_layers_with_weights_50_without_the_gates():
    names = counting.weight_layers(models.create("efficientnet_b0"), (64, 64, 3))
    assert len(names) == 82
    assert len([name for name in names if not name.endswith(("fc1", "fc2"))]) == 50


def test_compound_scaling_spends_nearly_twice_as_much_for_each_phi():
    one = efficientnet.scale(1)
    assert one.depth * one.width**2 * (one.resolution / 224) ** 2 == pytest.approx(
        1.92027, abs=5e-6
    )
    assert efficientnet.scale(0) == (1, 1, 224)


@pytest.mark.parametrize(("phi", "resolution", "published"), [(1, 257.6, 240), (2, 296.24, 260)])
def test_compound_scaling_gives_larger_images_than_those_published(phi, resolution, published):
    assert efficientnet.scale(phi).resolution == pytest.approx(resolution)
    assert published < resolution


@pytest.mark.parametrize("name", ["efficientnet_b1", "efficientnet_v2_s"])
def test_drop_path_rises_linearly_over_all_blocks(name):
    rates = []

    def record(call, args, kwargs, context):
        if isinstance(context.module, layers.InvertedResidual | efficientnet.FusedBlock):
            rates.append(context.module.drop_path)
        return call(*args, **kwargs)

    with efficientnet.nn.intercept_methods(record):
        model = models.create(name)
        jax.eval_shape(lambda: model.init(KEY, jnp.zeros((1, 64, 64, 3))))
    np.testing.assert_allclose(rates, 0.2 * np.arange(len(rates)) / len(rates))
    assert len(rates) == {"efficientnet_b1": 23, "efficientnet_v2_s": 40}[name]
