"""Colours of an image [H, W, C], float in 0..1. Definitions are torchvision's."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.data.augment import check


def as_float(image):
    """Image (or batch) as a network takes it: uint8 -> float32 in 0..1; floats pass."""
    if image.dtype == jnp.uint8:
        return image.astype(jnp.float32) / 255
    if jnp.issubdtype(image.dtype, jnp.floating):
        return image
    raise ValueError(f"image must be uint8 or float, got {image.dtype}. Convert it in the source.")


def normalize(image, *, mean, std):
    """Image (or batch) of mean 0 and deviation 1: (image - mean) / std.

    Args:
        image: [..., C] float.
        mean, std: numbers, or one per channel.

    Raises:
        ValueError: an integer image, as many numbers as there are no channels, std not above 0.
    """
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(f"image must be float, got {image.dtype}. Call as_float on it first.")
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    for name, value in (("mean", mean), ("std", std)):
        if value.shape not in ((), (1,), image.shape[-1:]):
            raise ValueError(
                f"{name} must be a number or one for each of {image.shape[-1]} channels,"
                f" got {value.tolist()}."
            )
    if not (std > 0).all():
        raise ValueError(f"std must be above 0, got {std.tolist()}.")
    return ((image - mean) / std).astype(image.dtype)


def color_jitter(key, image, *, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0):
    """Image with its colours changed at random.

    Args:
        key: typed PRNG key.
        image: [H, W, C] float in 0..1; saturation and hue want C = 3.
        brightness, contrast, saturation: the factor is uniform in max(0, 1 - x)..1 + x.
        hue: the shift is uniform in -hue..hue turns, 0..0.5.

    Source: torchvision's ColorJitter, in the order of the arguments; there the order is random.
    """
    check.check_float_image(image)
    check.check_within("hue", hue, 0, 0.5)
    keys = jax.random.split(key, 4)
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    adjusts = (adjust_brightness, adjust_contrast, adjust_saturation)
    for sub_key, (name, strength), adjust in zip(keys, strengths.items(), adjusts):
        check.check_within(name, strength, 0)
        if strength:
            low = max(0.0, 1 - strength)
            factor = jax.random.uniform(sub_key, minval=low, maxval=1 + strength)
            image = adjust(image, factor)
    if hue:
        image = adjust_hue(image, jax.random.uniform(keys[3], minval=-hue, maxval=hue))
    return image


def adjust_brightness(image, factor):
    """Image times a factor, clipped: 0 is black, 1 the image."""
    check.check_float_image(image)
    return jnp.clip(image * factor, 0, 1).astype(image.dtype)


def adjust_contrast(image, factor):
    """Image moved away from its mean grey value: factor 0 is flat grey, 1 the image."""
    check.check_float_image(image)
    grey = rgb_to_grayscale(image) if image.shape[-1] == 3 else image
    return _blend(image, grey.mean(), factor)


def adjust_saturation(image, factor):
    """Image [H, W, 3] moved away from its grey version: factor 0 is grey, 1 the image."""
    return _blend(image, rgb_to_grayscale(image), factor)


def adjust_hue(image, shift):
    """Image [H, W, 3] with the hue moved by shift turns of the colour circle, in HSV.

    1/3 makes red green. Values must be in 0..1; greys stay, and the gradient there is finite.
    """
    _check_rgb(image)
    red, green, blue = jnp.moveaxis(image, -1, 0)
    value = image.max(-1)
    chroma = value - image.min(-1)
    divisor = jnp.where(chroma == 0, 1, chroma)
    sector = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # Each channel falls from `value` by the chroma where the hue is far from its own colour.
    place = (sector[..., None] + 6 * shift + jnp.array([5.0, 3.0, 1.0])) % 6
    fall = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return (value[..., None] - chroma[..., None] * fall).astype(image.dtype)


def random_grayscale(key, image, *, probability=0.1):
    """Image [H, W, 3] made grey, three equal channels, with the given probability."""
    check.check_within("random_grayscale's probability", probability, 0, 1)
    return jnp.where(jax.random.bernoulli(key, probability), rgb_to_grayscale(image), image)


def pca_lighting(key, image, *, std=0.1):
    """Image [H, W, 3] with one random colour added, along the principal components of ImageNet's.

    Args:
        key: typed PRNG key.
        image: [H, W, 3] float in 0..1.
        std: deviation of the three components' weights, which their eigenvalues multiply.

    Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks",
    2012, section 4.1; components as published with fb.resnet.torch. Clipped to 0..1.
    """
    _check_rgb(image)
    check.check_within("pca_lighting's std", std, 0)
    weights = std * jax.random.normal(key, (3,)) * _EIGENVALUES
    shift = (_COMPONENTS * weights).sum(-1)  # of red, green, blue
    return jnp.clip(image + shift, 0, 1).astype(image.dtype)


def rgb_to_grayscale(image):
    """Luma of an image by ITU-R BT.601: [H, W, 3] -> [H, W, 1]."""
    _check_rgb(image)
    luma = image * jnp.array([0.2989, 0.587, 0.114], image.dtype)
    return luma.sum(-1, keepdims=True)


# Of the covariance of the colours of ImageNet's pixels, in 0..1; one component a column.
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045], np.float32)
_COMPONENTS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
    np.float32,
)


def _blend(image, other, factor):
    return jnp.clip(factor * image + (1 - factor) * other, 0, 1).astype(image.dtype)


def _check_rgb(image):
    check.check_float_image(image)
    if image.shape[-1] != 3:
        raise ValueError(
            f"image must be [H, W, 3] (red, green, blue), got {list(image.shape)}."
            " Leave saturation, hue and grayscale at 0 for other images."
        )
