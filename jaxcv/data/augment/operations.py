"""The operations that AutoAugment and its successors choose from, on images of 256 levels.

Each is of one of three kinds: an affine map, a blend with an image made of this one, or a table of
the levels. Whatever is chosen costs one of each kind, two of which change nothing; a switch under
`vmap` would make all sixteen.
"""

import difflib

import jax.numpy as jnp

from jaxcv.data.augment import check, geometric

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
    "brightness", "color", "contrast", "sharpness",
    "posterize", "solarize", "solarize_add", "autocontrast", "equalize", "invert",
)  # fmt: skip
INDEX = {name: index for index, name in enumerate(OPERATIONS)}
_AFFINE = OPERATIONS[:6]
_BLENDS = OPERATIONS[6:10]
_TABLES = OPERATIONS[10:]


def apply_operation(example, operation, argument, *, fill=0.0, min_visible=0.0):
    """Example after one operation.

    Args:
        example: dict with `image` [H, W, 1 or 3] float in 0..1; see the package.
        operation: a name of OPERATIONS, or an integer [], traced or not: its index there.
        argument: number [], by operation: shear_x, shear_y: the slope, positive moves what is low
            (or right) to the left (or up). translate_x, translate_y: pixels to the right, down.
            rotate: degrees, anticlockwise as seen. brightness, color, contrast, sharpness: the
            factor; 1 changes nothing. posterize: bits that stay, 0..8. solarize: levels from this
            one on are inverted. solarize_add: what is added to levels below 128. Others: unused.
        fill: of what comes from outside the image, in 0..1.
        min_visible: as in `remap.remap`; boxes, masks, segments and keypoints move with the image.

    Returns:
        A new dict; the image is rounded to 256 levels before and after.

    Raises:
        ValueError: a name that is unknown, shapes that do not fit each other.

    Source: Pillow, as torchvision and timm call it, bilinear; equal to it but for one level where
    a value lies within rounding of the next.
    """
    check.check_example(example)
    check.check_float_image(example["image"])
    if example["image"].shape[-1] not in (1, 3):
        raise ValueError(
            f"image must have 1 or 3 channels, got {list(example['image'].shape)}."
            " Leave rand_augment, trivial_augment and auto_augment off for others."
        )
    operation = _index(operation)
    image = example["image"]
    levels = jnp.round(jnp.clip(image, 0, 1) * 255).astype(jnp.float32)
    matrix = _matrix(operation, argument, geometric.image_size(example))
    example = geometric.transform(
        {**example, "image": levels}, matrix, fill=jnp.round(fill * 255), min_visible=min_visible
    )
    # Pillow cuts the fraction off; the sum of four weighted levels may lie a rounding below one.
    levels = jnp.floor(example["image"] + 1e-3)
    levels = _blend(operation, argument, levels)
    levels = _look_up(operation, argument, levels)
    return {**example, "image": (levels / 255).astype(image.dtype)}


def _index(operation):
    if not isinstance(operation, str):
        return operation
    if operation not in INDEX:
        near = difflib.get_close_matches(operation, OPERATIONS) or OPERATIONS
        raise ValueError(f"operation {operation!r} is unknown. Nearest: {', '.join(near)}.")
    return INDEX[operation]


def _matrix(operation, argument, size):
    """[3, 3] from old to new places; the identity for operations of another kind."""
    eye = jnp.eye(3)
    matrices = {
        "identity": eye,
        "shear_x": eye.at[0, 1].set(-argument),
        "shear_y": eye.at[1, 0].set(-argument),
        "translate_x": eye.at[0, 2].set(argument),
        "translate_y": eye.at[1, 2].set(argument),
        "rotate": geometric.affine_matrix(size, degrees=-argument),
    }
    stacked = jnp.stack([matrices[name] for name in _AFFINE])
    return stacked[jnp.where(operation < len(_AFFINE), operation, INDEX["identity"])]


def _blend(operation, argument, levels):
    """Levels moved from another image's towards, or beyond, their own by the factor `argument`."""
    grey = _grey(levels)
    others = {
        "brightness": jnp.zeros_like(levels),
        "color": jnp.broadcast_to(grey, levels.shape),
        "contrast": jnp.broadcast_to(jnp.floor(grey.mean() + 0.5), levels.shape),
        "sharpness": _smooth(levels),
    }
    chosen = [operation == INDEX[name] for name in _BLENDS]
    other = jnp.select(chosen, [others[name] for name in _BLENDS], levels)
    return jnp.floor(jnp.clip(other + argument * (levels - other), 0, 255))


def _look_up(operation, argument, levels):
    """Levels of each channel replaced by what a table says of them."""
    channels = levels.shape[-1]
    flat = levels.reshape(-1, channels).astype(jnp.int32)
    old = jnp.broadcast_to(jnp.arange(256)[:, None], (256, channels))
    number = jnp.asarray(argument).astype(jnp.int32)
    step = 1 << (8 - jnp.clip(number, 0, 8))
    tables = {
        "posterize": old - old % step,
        "solarize": jnp.where(old < argument, old, 255 - old),
        "solarize_add": jnp.where(old < 128, jnp.minimum(old + number, 255), old),
        "autocontrast": _autocontrast(old, flat.min(0), flat.max(0)),
        "equalize": _equalize(flat),
        "invert": 255 - old,
    }
    chosen = [operation == INDEX[name] for name in _TABLES]
    table = jnp.select(chosen, [tables[name] for name in _TABLES], old)
    return jnp.take_along_axis(table, flat, axis=0).reshape(levels.shape).astype(levels.dtype)


def _autocontrast(old, low, high):
    """[256, C] the table that spreads low..high [C] over all levels."""
    span = high - low
    spread = jnp.clip(255 * (old - low) // jnp.maximum(span, 1), 0, 255)
    return jnp.where(span > 0, spread, old)


def _equalize(flat):
    """[N, C] levels -> [256, C] the table after which all levels are about as frequent."""
    channels = flat.shape[-1]
    counts = jnp.zeros((256, channels), jnp.int32).at[flat, jnp.arange(channels)].add(1)
    below = jnp.cumsum(counts, axis=0) - counts
    of_highest = jnp.take_along_axis(counts, flat.max(0)[None], axis=0)[0]
    step = (len(flat) - of_highest) // 255
    spread = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
    return jnp.where(step > 0, spread, jnp.arange(256)[:, None])


def _grey(levels):
    """Pillow's luma: [H, W, C] -> [H, W, 1]."""
    if levels.shape[-1] == 1:
        return levels
    red, green, blue = jnp.split(levels.astype(jnp.int32), 3, axis=-1)
    luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return luma.astype(levels.dtype)


def _smooth(levels):
    """The mean over 3 x 3 pixels, the middle weighing 5; pixels of the border stay."""
    height, width = levels.shape[:2]
    if min(height, width) < 3:
        return levels
    inner = levels[1:-1, 1:-1]
    around = sum(levels[y : height - 2 + y, x : width - 2 + x] for y in range(3) for x in range(3))
    return levels.at[1:-1, 1:-1].set(jnp.floor((around + 4 * inner) / 13 + 0.5))
