import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.data import views

# Pixels 0 .. 19 of an image of 4 rows and 5 columns.
IMAGE = jnp.arange(20).reshape(4, 5, 1)


def options(**changes):
    return types.SimpleNamespace(**{"sizes": (), "ten_crop": 0, "mirror": False} | changes)


def test_the_ten_crops_by_hand():
    # Crops of 3x2: the centre starts at row round(1 / 2) = 0 and column round(3 / 2) = 2.
    crops = views.ten_crop(IMAGE, size=(3, 2))[..., 0]
    first_rows = [[0, 1], [3, 4], [5, 6], [8, 9], [2, 3]]
    mirrored = [[4, 3], [1, 0], [9, 8], [6, 5], [2, 1]]
    np.testing.assert_array_equal(crops[:, 0], first_rows + mirrored)
    np.testing.assert_array_equal(crops[:, 2] - crops[:, 0], np.full((10, 2), 10))


def test_views_of_a_batch_are_those_of_its_images():
    batch = jnp.stack([IMAGE, IMAGE + 100]).astype(jnp.float32)
    [crops] = views.create(options(ten_crop=2), image_size=0)(batch)
    for i in (0, 1):
        np.testing.assert_array_equal(crops[:, i], views.ten_crop(batch[i], size=2))
    [mirror] = views.create(options(mirror=True), image_size=0)(batch)
    np.testing.assert_array_equal(mirror, [batch, batch[:, :, ::-1]])
    [same] = views.create(options(), image_size=0)(batch)
    np.testing.assert_array_equal(same, [batch])


def test_of_each_size_there_are_the_same_crops():
    batch = jnp.ones((2, 8, 8, 3))
    sized = views.create(options(sizes=(4, 6), ten_crop=3), image_size=8)(batch)
    assert [view.shape for view in sized] == [(10, 2, 3, 3, 3)] * 2
    whole = views.create(options(sizes=(4, 16)), image_size=8)(batch)
    assert [view.shape for view in whole] == [(1, 2, 4, 4, 3), (1, 2, 16, 16, 3)]
    np.testing.assert_allclose(whole[1], 1, atol=1e-6)


def test_probabilities_are_averaged_not_logits():
    # Softmax of 0 and log 3 is 1/4 and 3/4; of 0 and 200 it is 0 and 1. Means: 1/8 and 7/8.
    logits = jnp.array([[[0, np.log(3)]], [[0.0, 200.0]]])
    np.testing.assert_allclose(np.exp(views.average(logits)), [[1 / 8, 7 / 8]], rtol=1e-6)
    np.testing.assert_array_equal(views.average(logits[:1]), logits[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ten_crop": 9}, "views.ten_crop must be at most the images' 8 pixels, got 9"),
        ({"ten_crop": 5, "sizes": (4, 8)}, "at most the images' 4 pixels, got 5"),
        ({"ten_crop": 4, "mirror": True}, "views.mirror is for whole images"),
        ({"sizes": (0,)}, r"must be pixels, got \(0,\) and 0"),
    ],
)
def test_options_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        views.create(options(**changes), image_size=8)


def test_a_crop_larger_than_the_image_is_named():
    with pytest.raises(ValueError, match=r"at least size 5x5, got \[4, 5, 1\]"):
        views.ten_crop(IMAGE, size=5)
