"""Rectangles cut out of an image [H, W, C], float in 0..1; labels stay as they are."""

import jax
import jax.numpy as jnp

from jaxcv.data.augment import check
from jaxcv.data.augment.geometric import random_box
from jaxcv.data.augment.remap import pixel_centres


def cutout(key, image, *, size, fill=0.0):
    """Image with a square of the given side (pixels) filled, its centre uniform over the pixels, so
    that part of it may lie outside.

    Source: DeVries, Taylor 2017, "Improved regularization of convolutional neural networks with
    cutout".
    """
    check.check_float_image(image)
    check.check_within("cutout's size", size, 0)
    height, width = image.shape[:2]
    centre = jax.random.randint(key, (2,), 0, jnp.array([width, height]))
    corner = centre - size // 2
    return _fill_box(image, jnp.concatenate([corner, corner + size]), fill)


def random_erasing(
    key,
    image,
    *,
    probability=0.5,
    scale=(0.02, 0.33),
    ratio=(0.3, 3.3),
    fill=0.0,
    noise=False,
):
    """Image with a random rectangle filled, with the given probability.

    Args:
        key: typed PRNG key.
        image: [H, W, C] float.
        probability: of erasing.
        scale: range of the rectangle's area as a fraction of the image's.
        ratio: range of its width over its height, log-uniform.
        fill: what it shows.
        noise: it shows uniform noise in 0..1 instead, each pixel and channel its own.

    Source: Zhong et al. 2017, "Random erasing data augmentation", whose best is `noise` (RE-R) and
    whose scale ends at 0.4. After ten attempts that do not fit the image stays as it is, as in
    torchvision, whose ratio is height over width and whose boxes are of whole pixels.
    """
    check.check_float_image(image)
    check.check_within("random_erasing's probability", probability, 0, 1)
    coin_key, box_key = jax.random.split(key)
    box, fits = random_box(box_key, image.shape[:2], scale=scale, ratio=ratio)
    erase = jax.random.bernoulli(coin_key, probability) & fits
    if noise:
        fill = jax.random.uniform(jax.random.fold_in(box_key, 1), image.shape)
    return jnp.where(erase, _fill_box(image, box, fill), image)


def _fill_box(image, box, fill):
    centres = pixel_centres(image.shape[:2])
    within = ((centres > box[:2]) & (centres < box[2:])).all(-1, keepdims=True)
    return jnp.where(within, jnp.asarray(fill, image.dtype), image)
