"""Several views of one image for a network to judge, whose probabilities are then averaged.

Ten crops: Krizhevsky, Sutskever, Hinton 2012, section 4.1. Several sizes: Simonyan, Zisserman
2015, sections 3.2 and 4.2, whole images and their mirrors there. Both average softmax outputs.
"""

import functools

import jax
import jax.numpy as jnp

from jaxcv import ops


def create(config, *, image_size):
    """Views of a batch, as a config asks for them.

    Args:
        config: an object with the attributes `sizes`, `ten_crop` and `mirror` of configs/base.py.
        image_size: side in pixels of the images; 0 where they are not square.

    Returns:
        The function image [B, H, W, C] float -> list of [V, B, h, w, C], one for each size; without
        any option, of one view: the image.

    Raises:
        ValueError: an option out of range, or crops larger than an image.
    """
    if config.mirror and config.ten_crop:
        raise ValueError("views.mirror is for whole images: ten crops hold their mirrors already.")
    # A config's empty tuple does not say what it will hold: numbers may come as texts.
    sizes = tuple(int(n) if isinstance(n, str) and n.isdecimal() else n for n in config.sizes)
    whole = all(isinstance(size, int) for size in sizes)
    if not whole or min((config.ten_crop, *sizes)) < 0 or 0 in sizes:
        raise ValueError(
            f"views.sizes and views.ten_crop must be pixels, got {sizes} and {config.ten_crop}."
        )
    smallest = min(sizes or (image_size,))
    if smallest and config.ten_crop > smallest:
        raise ValueError(
            f"views.ten_crop must be at most the images' {smallest} pixels, got {config.ten_crop}."
            " Enlarge them with data.image_size or views.sizes."
        )

    def of_size(image):
        if config.ten_crop:
            return jax.vmap(functools.partial(ten_crop, size=config.ten_crop), out_axes=1)(image)
        return jnp.stack([image, image[:, :, ::-1]]) if config.mirror else image[None]

    def views(image):
        images = [image]
        if sizes:
            scaled = jax.vmap(functools.partial(multi_scale, sizes=sizes))
            images = scaled(image)
        return [of_size(one) for one in images]

    return views


def ten_crop(image, *, size):
    """Corners, centre, and those of the mirrored image: [H, W, C] -> [10, h, w, C].

    In this order: top left, top right, bottom left, bottom right, centre, then the same of the
    image mirrored left to right.

    Args:
        image: [H, W, C].
        size: h and w, an int or a pair, at most H and W.

    Raises:
        ValueError: an image of another form, or a size that does not fit into it.

    Source: torchvision.transforms.TenCrop, whose centre rounds halves to even.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if image.ndim != 3 or not (1 <= height <= image.shape[0] and 1 <= width <= image.shape[1]):
        raise ValueError(
            f"image must be [H, W, C] of at least size {height}x{width}, got {list(image.shape)}."
            " For a batch, jax.vmap the function."
        )
    down, right = image.shape[0] - height, image.shape[1] - width
    corners = [(0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))]
    return jnp.stack(
        [
            side[top : top + height, left : left + width]
            for side in (image, image[:, ::-1])
            for top, left in corners
        ]
    )


def multi_scale(image, *, sizes):
    """The image in several sizes: [H, W, C] float -> list of [h, w, C].

    Args:
        image: [H, W, C] float.
        sizes: of each h and w, an int or a pair.

    Source: bilinear, antialiased, as Pillow and torchvision resize.
    """
    return [ops.resize(image, size, antialias=True) for size in sizes]


def average(logits):
    """Logits of views -> logits whose softmax is the mean of theirs: [V, B, K] -> [B, K].

    They are logarithms of the mean probabilities; those of one view stay as they are.
    """
    if len(logits) == 1:
        return logits[0]
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))
