"""A network with an output_stride below 32 is the strided one, on more places."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models
from tests import golden
from tests.models import parity, small

KEY = jax.random.key(0)

# Networks whose strides come to 32, with convolutions behind the last one. In mobilenet_v2 blocks
# with a stride have as many channels in as out.
SMALL = {
    "legacy_seresnet50": {"stage_sizes": (1, 1, 1, 2), "width": 4, "reduction": 4},
    "legacy_seresnext50_32x4d": {
        **{"stage_sizes": (1, 1, 1, 2), "width": 4, "reduction": 4},
        **{"cardinality": 2, "bottleneck_width": 2},
    },
    "legacy_xception": {
        "blocks": (((6, 6), 2), ((8, 8), 2), ((8, 8), 2), ((8, 8, 8), 1), ((8, 10), 2)),
        "widths": (4, 6, 12, 16),
    },
    "mobilenet_v2": {
        "blocks": ((1, 8, 1, 1), (2, 8, 1, 2), (2, 8, 1, 2), (2, 8, 2, 2), (2, 8, 2, 2)),
        "width_multiplier": 0.25,
    },
    "mobilenetv1_100": {
        "blocks": ((8, 1, 1), (8, 2, 2), (16, 2, 1), (16, 2, 2), (16, 2, 2)),
    },
    "vgg11": {"widths": (4, 4, 6, 6, 6), "hidden": 8},
}


def network(name, output_stride):
    return models.create(name, num_classes=3, output_stride=output_stride, **SMALL[name])


def with_constant_gates(path, leaf):
    """Gates of squeeze and excitation see means of whole maps, which differ with the places."""
    return leaf * ("se_module/fc2/kernel" not in "/".join(key.key for key in path))


@pytest.mark.parametrize("name", SMALL)
def test_maps_have_at_each_stride_the_values_of_the_strided_network(name):
    # A VGG's pools drop the last row of an odd map, which only the strided network has.
    height, width = (96, 64) if name.startswith("vgg") else (101, 82)
    image = np.random.default_rng(1).uniform(-1, 1, (1, height, width, 3)).astype(np.float32)
    networks = [network(name, output_stride) for output_stride in (32, 16, 8)]
    variables = small.random_variables(networks[0], image)
    variables = jax.tree_util.tree_map_with_path(with_constant_gates, variables)

    def maps(variables):
        return [network.apply(variables, image)["stages"] for network in networks]

    strided, *finer = parity.compiled(maps, variables)(variables)
    for output_stride, stages in zip((16, 8), finer):
        steps = []
        for key, want in strided.items():
            if key != "avgpool" and want.ndim == 4:
                assert want.std() > 0.01, key
                steps.append(2 ** round(math.log2(stages[key].shape[1] / want.shape[1])))
                golden.assert_close(stages[key][:, :: steps[-1], :: steps[-1]], want, floor=1e-5)
        assert max(steps) == 32 // output_stride


NAMES = ("legacy_seresnet50", "legacy_xception", "mobilenet_v2", "mobilenetv1_100", "vgg16_bn")


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("name", NAMES)
def test_published_networks_keep_their_parameters_at_every_output_stride(name, output_stride):
    image = jnp.zeros((1, 320, 256, 3))
    strided, finer = models.create(name), models.create(name, output_stride=output_stride)
    outputs, variables = jax.eval_shape(finer.init_with_output, KEY, image)
    assert variables == jax.eval_shape(strided.init, KEY, image)
    sizes = [stage.shape[1:3] for key, stage in outputs["stages"].items() if key != "avgpool"]
    assert (320 // output_stride, 256 // output_stride) in sizes
    assert min(size[0] for size in sizes if len(size) == 2) == 320 // output_stride


@pytest.mark.parametrize("name", NAMES)
def test_another_output_stride_is_refused(name):
    model = models.create(name, output_stride=4)
    with pytest.raises(ValueError, match="output_stride must be 32, 16 or 8, got 4"):
        jax.eval_shape(model.init, KEY, jnp.zeros((1, 64, 64, 3)))
