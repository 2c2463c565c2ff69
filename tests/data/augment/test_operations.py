import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from jaxcv.data import augment
from jaxcv.data.augment.operations import OPERATIONS

_NOISE = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
# Smooth, of levels 40..167, so that autocontrast and equalize have something to do.
IMAGE = np.asarray(Image.fromarray(_NOISE).resize((24, 20), Image.Resampling.BICUBIC)) // 2 + 40


@jax.jit
def _apply(operation, argument, image):
    return augment.apply_operation({"image": image / 255}, operation, argument)["image"] * 255


def apply(operation, argument, image=IMAGE):
    """The levels after an operation; all of them are one program."""
    levels = _apply(OPERATIONS.index(operation), float(argument), np.float32(image))
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    return np.rint(levels).astype(int)


def affine(*matrix):
    """Pillow's map by a matrix from new to old places."""
    bilinear = Image.Resampling.BILINEAR
    return lambda picture: picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, bilinear, fillcolor=(0, 0, 0)
    )


def enhance(kind, factor):
    return lambda picture: kind(picture).enhance(factor)


# Exact to the level, but for affine maps: they sum four weighted levels in float32, Pillow in
# float64, and cut the fraction off, which a sum on the border of two levels may tip.
@pytest.mark.parametrize(
    ("operation", "argument", "pillow", "off"),
    [
        ("identity", 0, lambda picture: picture, 0),
        ("shear_x", 0.27, affine(1, 0.27, 0, 0, 1, 0), 1),
        ("shear_y", -0.3, affine(1, 0, 0, -0.3, 1, 0), 1),
        ("translate_x", 5, affine(1, 0, -5, 0, 1, 0), 0),
        ("translate_y", -3, affine(1, 0, 0, 0, 1, 3), 0),
        ("rotate", 27, lambda picture: picture.rotate(27, Image.Resampling.BILINEAR), 1),
        ("brightness", 0.55, enhance(ImageEnhance.Brightness, 0.55), 0),
        ("color", 1.9, enhance(ImageEnhance.Color, 1.9), 0),
        ("contrast", 0.1, enhance(ImageEnhance.Contrast, 0.1), 0),
        ("contrast", 1.9, enhance(ImageEnhance.Contrast, 1.9), 0),
        ("sharpness", 0.1, enhance(ImageEnhance.Sharpness, 0.1), 0),
        ("sharpness", 1.9, enhance(ImageEnhance.Sharpness, 1.9), 0),
        ("posterize", 3, lambda picture: ImageOps.posterize(picture, 3), 0),
        ("solarize", 100, lambda picture: ImageOps.solarize(picture, 100), 0),
        ("autocontrast", 0, ImageOps.autocontrast, 0),
        ("equalize", 0, ImageOps.equalize, 0),
        ("invert", 0, ImageOps.invert, 0),
    ],
)
def test_it_equals_pillow(operation, argument, pillow, off):
    want = np.asarray(pillow(Image.fromarray(IMAGE))).astype(int)
    np.testing.assert_allclose(apply(operation, argument), want, atol=off)


def test_solarize_add_brightens_the_dark_half():
    image = np.repeat([[[0], [100], [127], [128], [255]]], 3, axis=-1)
    np.testing.assert_array_equal(
        apply("solarize_add", 40, image)[0, :, 0], [40, 140, 167, 128, 255]
    )


@pytest.mark.parametrize(
    ("operation", "argument"),
    [
        *((name, 0) for name in OPERATIONS[:6]),
        *((name, 1) for name in ("brightness", "color", "contrast", "sharpness")),
        *(("posterize", 8), ("solarize", 256), ("solarize_add", 0)),
    ],
)
def test_the_argument_that_changes_nothing_does_not(operation, argument):
    np.testing.assert_array_equal(apply(operation, argument), IMAGE)


@pytest.mark.parametrize("operation", ["autocontrast", "equalize", "contrast"])
def test_a_flat_image_stays(operation):
    flat = np.full((4, 4, 3), 77)
    np.testing.assert_array_equal(apply(operation, 1.9, flat), flat)


def test_boxes_go_along_and_one_channel_will_do():
    example = {
        "image": jnp.ones((8, 8, 1)),
        "boxes": jnp.array([[1.0, 2, 3, 4]]),
        "valid": jnp.ones(1, bool),
    }
    move = functools.partial(augment.apply_operation, operation="translate_x", fill=0.5)
    moved = jax.jit(lambda example: move(example, argument=2.0))(example)
    np.testing.assert_array_equal(moved["boxes"], [[3, 2, 5, 4]])
    np.testing.assert_allclose(moved["image"][0, :, 0], [128 / 255] * 2 + [1] * 6)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"'solarise' is unknown. Nearest: solarize"):
        augment.apply_operation({"image": jnp.zeros((2, 2, 3))}, "solarise", 0)
    with pytest.raises(ValueError, match=r"1 or 3 channels, got \[2, 2, 4\].*Leave rand_augment"):
        augment.apply_operation({"image": jnp.zeros((2, 2, 4))}, "invert", 0)
