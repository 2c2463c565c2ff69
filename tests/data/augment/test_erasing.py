import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.data import augment

KEYS = jax.random.split(jax.random.key(0), 300)


def erased(function, shape):
    """Which pixels were filled, [300, H, W]."""
    image = jnp.zeros((*shape, 1))
    return np.asarray(jax.jit(jax.vmap(lambda key: function(key, image)))(KEYS))[..., 0] == 1


def test_cutout_fills_a_square_that_may_hang_over_the_border():
    holes = erased(lambda key, image: augment.cutout(key, image, size=4, fill=1.0), (8, 10))
    areas = holes.sum((1, 2))
    # From the corner pixel as centre, 2 x 2 of the 4 x 4 are left.
    assert set(areas) == {4, 6, 8, 9, 12, 16}
    # Centres are uniform: 5 of 8 rows and 7 of 10 columns leave it whole, 131 of 300.
    assert 100 < (areas == 16).sum() < 163
    assert holes.any(0).all()


def test_random_erasing_keeps_to_its_area_ratio_and_probability():
    def erase(key, image):
        return augment.random_erasing(
            key, image, probability=0.5, scale=(0.1, 0.2), ratio=(0.5, 2.0), fill=1.0
        )

    holes = erased(erase, (40, 40))
    hit = holes.any((1, 2))
    assert 120 < hit.sum() < 180
    areas = holes[hit].sum((1, 2))
    assert 0.08 * 1600 < areas.min() < 0.12 * 1600
    assert 0.18 * 1600 < areas.max() < 0.22 * 1600
    rows, columns = holes[hit].any(2).sum(1), holes[hit].any(1).sum(1)
    np.testing.assert_array_equal(rows * columns, areas)
    assert (columns / rows).min() > 0.4
    assert (columns / rows).max() < 2.5


def test_random_erasing_with_noise_shows_other_values_in_each_pixel():
    image = jnp.full((20, 20, 3), 2.0)
    erase = functools.partial(augment.random_erasing, probability=1.0, noise=True)
    erased = np.asarray(jax.jit(jax.vmap(lambda key: erase(key, image)))(KEYS))
    values = erased[erased != 2]
    assert 0 <= values.min() < 0.01
    assert 0.99 < values.max() < 1
    assert len(np.unique(values)) > 0.9 * len(values)


def test_random_erasing_that_never_fits_leaves_the_image():
    image = jnp.zeros((8, 8, 1))
    erase = functools.partial(
        augment.random_erasing, probability=1.0, scale=(1.0, 1.0), ratio=(2.0, 2.0), fill=1.0
    )
    np.testing.assert_array_equal(jax.jit(erase)(KEYS[0], image), image)


def test_bad_options_are_named():
    image = jnp.zeros((4, 4, 1))
    with pytest.raises(ValueError, match="cutout's size must be at least 0, got -2"):
        augment.cutout(jax.random.key(0), image, size=-2)
    with pytest.raises(ValueError, match="random_erasing's probability must be within"):
        augment.random_erasing(jax.random.key(0), image, probability=1.5)
