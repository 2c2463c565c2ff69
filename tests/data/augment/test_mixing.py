import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv.data import augment

ZERO, ONE = jnp.zeros((8, 10, 1)), jnp.ones((8, 10, 1))
BATCH = {
    "image": jnp.arange(8.0)[:, None, None, None] * jnp.ones((8, 6, 6, 1)),
    "label": jnp.array([0, 1, 2, 2, 1, 0, 0, 2]),
}
KEYS = jax.random.split(jax.random.key(0), 8)


def create(mixup, cutmix):
    fields = types.SimpleNamespace(mixup=mixup, cutmix=cutmix)
    return augment.create_mixing(fields, num_classes=3)


mix = jax.jit(create(0.8, 1.0))
paste = jax.jit(lambda key: augment.cutmix(key, ZERO, ONE, alpha=1.0))
blend = jax.jit(lambda key: augment.mixup(key, ZERO, ONE, alpha=0.8))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_the_share_of_cutmix_is_the_area_that_is_left(seed):
    image, share = paste(jax.random.key(seed))
    assert set(np.unique(image)) <= {0, 1}
    np.testing.assert_allclose(share, 1 - np.mean(image), atol=1e-6)
    rows, columns = np.asarray(image)[..., 0].any(1), np.asarray(image)[..., 0].any(0)
    assert rows.sum() * columns.sum() == np.sum(image)  # a box


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_the_share_of_mixup_is_the_weight_of_the_image(seed):
    image, share = blend(jax.random.key(seed))
    np.testing.assert_allclose(image, np.full(image.shape, 1 - share), atol=1e-6)
    assert 0 <= share <= 1


def test_targets_are_shares_of_the_pairs_two_classes():
    mixed = mix(KEYS, BATCH)
    target = np.asarray(mixed["target"])
    np.testing.assert_allclose(target.sum(1), 1, rtol=1e-6)
    for place, row in enumerate(target):
        classes = {int(BATCH["label"][i]) for i in (place, place ^ 1)}
        assert set(np.flatnonzero(row)) <= classes
        # The image of place i is i all over, so its mean is the same mean of the pair's numbers.
        own, other = row[BATCH["label"][place]], row[BATCH["label"][place ^ 1]]
        if len(classes) == 2:
            mean = own * place + other * (place ^ 1)
            np.testing.assert_allclose(mixed["image"][place].mean(), mean, rtol=1e-5)


def test_four_devices_make_what_one_makes():
    whole = mix(KEYS, BATCH)
    two_each = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), (KEYS, BATCH))
    shards = jax.vmap(create(0.8, 1.0))(*two_each)
    joined = jax.tree.map(lambda leaf: leaf.reshape(8, *leaf.shape[2:]), shards)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), joined, dict(whole))


def test_half_the_examples_get_either():
    image = jnp.arange(8.0)[:, None, None, None] % 2 * jnp.ones((8, 6, 6, 1))
    keys = jax.random.split(jax.random.key(1), (50, 8))
    mixed = np.array([mix(k, BATCH | {"image": image})["image"] for k in keys])
    blended = ((mixed > 0) & (mixed < 1)).any((2, 3, 4)).mean()
    assert 0.42 < blended < 0.58


def test_nothing_on_changes_nothing():
    assert create(0.0, 0.0)(KEYS, BATCH) is BATCH


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"config.augment.mixup must be at least 0, got -1"):
        create(-1.0, 0.0)
    with pytest.raises(ValueError, match=r"pair the examples of a device, got 7.*multiple of 2 x"):
        create(0.0, 1.0)(KEYS[:7], jax.tree.map(lambda leaf: leaf[:7], BATCH))
