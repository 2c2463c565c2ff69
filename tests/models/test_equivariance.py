"""Convolutions are equivariant to shifts by their stride, and to nothing else of the kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, models, ops
from tests.models import small

IMAGE = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)), jnp.float32)


def shifted(image, pixels):
    return jnp.roll(image, (pixels, pixels), (1, 2))


def backbone():
    """ResNet-8's last map, of stride 4, as a function of the image."""
    model = models.create("resnet20", depth=8, width=4)
    variables = small.random_variables(model, IMAGE)
    return lambda image: model.apply(variables, image)["stages"]["layer3"]


def convolution():
    layer = layers.Conv(5, 3, strides=2, padding=1)
    variables = small.random_variables(layer, IMAGE)
    return lambda image: layer.apply(variables, image)


def pool(image):
    return ops.max_pool(image, window=2)


@pytest.mark.parametrize(
    # Pixels of the map at its border, which the image's border reaches: half the field.
    ("make", "stride", "border"),
    [(convolution, 2, 1), (lambda: pool, 2, 0), (backbone, 4, 4)],
)
def test_features_move_with_the_image_by_whole_strides(make, stride, border):
    features = jax.jit(make())
    before = features(IMAGE)
    after = features(shifted(IMAGE, 3 * stride))
    inside = slice(border + 3, before.shape[1] - border)
    want = shifted(before, 3)[:, inside, inside]
    scale = np.abs(want).max()
    np.testing.assert_allclose(after[:, inside, inside] / scale, want / scale, atol=1e-6)
    part = features(shifted(IMAGE, stride // 2))  # between two of the map's pixels
    assert min(np.abs(part - before).mean(), np.abs(part - shifted(before, 1)).mean()) > scale / 20


def test_a_pool_of_an_impulse_by_hand():
    # An impulse at 1, 2 and 3: the last two give the same.
    rows = jnp.eye(6)[1:4, None, :, None]
    got = jax.vmap(lambda row: ops.max_pool(row[None], window=(1, 2))[0])(rows)
    np.testing.assert_array_equal(got[:, 0, :, 0], [[1, 0, 0], [0, 1, 0], [0, 1, 0]])


@pytest.mark.parametrize("make", [convolution, backbone])
def test_features_do_not_turn_with_the_image(make):
    features = jax.jit(make())
    turned = jnp.rot90(features(IMAGE), axes=(1, 2))
    of_turned = features(jnp.rot90(IMAGE, axes=(1, 2)))
    assert np.abs(of_turned - turned).mean() > 0.3 * np.abs(turned).mean()
