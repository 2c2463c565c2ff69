import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.ndimage import map_coordinates

from jaxcv.data import augment

SIZE = 48


def make_example():
    y, x = np.indices((SIZE, SIZE), dtype=np.float32) + 0.5
    mask = (x > 12) & (x < 34) & (y > 16) & (y < 30)
    return {
        "image": jnp.array(np.stack([x, y], axis=-1) / SIZE),
        "boxes": jnp.array([[12.0, 16, 34, 30]]),
        "valid": jnp.array([True]),
        "masks": jnp.array(mask)[None],
        "segments": jnp.array(mask, jnp.int32),
        "keypoints": jnp.array([[[12.0, 16, 2], [34, 16, 2], [23, 23, 1]]]),
    }


@jax.jit
def look_at(image, places):
    """What the picture shows at each x, y, by jax's own interpolation."""
    rows_columns = places.T[::-1] - 0.5
    return jnp.stack([map_coordinates(image[..., c], rows_columns, 1) for c in (0, 1)], axis=-1)


def test_no_displacement_returns_every_entry():
    example = make_example()
    bend = jax.jit(lambda key: augment.elastic_deformation(key, example, sigma=0.0))
    got = bend(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, got, example)


def test_displacements_have_the_deviation_asked_for():
    example = {"image": make_example()["image"]}

    def shift_of_middle(key):
        bent = augment.elastic_deformation(key, example, sigma=2.0)
        return SIZE * bent["image"][24, 24] - 24.5

    # At the middle node (a pixel's corner, so nearly): 2 pixels in x and in y.
    shifts = jax.jit(jax.vmap(shift_of_middle))(jax.random.split(jax.random.key(0), 300))
    np.testing.assert_allclose(shifts.std(0), [2, 2], rtol=0.15)


def test_everything_stays_together_under_20_deformations():
    example = make_example()

    def draw(key):
        return augment.elastic_deformation(key, example, sigma=2.4)  # a tenth of the spacing

    bent = jax.device_get(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(3), 20)))
    assert bent["valid"].all()
    for index in range(20):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], bent)
        np.testing.assert_array_equal(one["segments"] == 1, one["masks"][0])
        places = one["keypoints"][0]
        np.testing.assert_array_equal(places[:, 2], [2, 2, 1])
        # Between pixels the displacement is curved, hence not 1e-3 as for affine maps.
        shown = SIZE * look_at(one["image"], places[:, :2])
        np.testing.assert_allclose(shown, example["keypoints"][0, :, :2], atol=0.02)
        rows, columns = np.nonzero(one["masks"][0])
        around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(one["boxes"][0], around, atol=1.6)


def test_a_point_that_the_fold_swallows_is_absent_and_its_box_not_valid():
    example = make_example()

    def draw(key):
        return augment.elastic_deformation(key, example, sigma=24.0)

    bent = jax.device_get(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 20)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(bent))
    assert not bent["valid"].all()
    assert not bent["boxes"][~bent["valid"]].any()
    assert (bent["keypoints"][..., 2] == 0).any()


def test_gradient_with_respect_to_the_image_is_finite():
    image = make_example()["image"]

    def total(image):
        bent = augment.elastic_deformation(jax.random.key(0), {"image": image}, sigma=3.0)
        return (bent["image"] ** 2).sum()

    assert np.isfinite(jax.jit(jax.grad(total))(image)).all()


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="sigma must be at least 0, got -1"):
        augment.elastic_deformation(jax.random.key(0), make_example(), sigma=-1)
    with pytest.raises(ValueError, match="grid must be at least 2, got 1"):
        augment.elastic_deformation(jax.random.key(0), make_example(), grid=1)
