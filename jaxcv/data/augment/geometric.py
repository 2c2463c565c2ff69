"""Flips, crops, resizing and affine maps of an example: image, boxes, masks, segments and keypoints
move together. Coordinates are those of `remap`: continuous, pixel centres at +0.5.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxcv.data.augment import check
from jaxcv.data.augment.remap import pixel_centres, remap, warp


def transform(example, matrix, *, output_size=None, **options):
    """Example under an affine map.

    Args:
        example: dict with `image` [H, W, C] float; see the package.
        matrix: [3, 3] float32 from old to new (x, y, 1), last row 0, 0, 1. Where it has no
            inverse, the result shows `fill` alone.
        output_size: (height, width) of the result; None keeps the image's.
        options: `fill`, `padding_mode`, `min_visible` and `keypoint_pairs` of `remap.remap`.

    Returns:
        The example on the new canvas: the image sampled bilinearly, once and without
        antialiasing (see `resize`), masks and segments at the nearest pixel, boxes as the hull of
        their moved corners, keypoints exact. A matrix of negative determinant is a mirroring. The
        identity, flips, quarter turns and shifts by whole pixels are exact to the bit.

    Raises:
        ValueError: shapes that do not fit each other, an integer image, an option out of range.
    """
    check.check_example(example)
    if jnp.shape(matrix) != (3, 3):
        raise ValueError(
            f"matrix must be [3, 3], got {list(jnp.shape(matrix))}. For a batch, jax.vmap."
        )
    size = image_size(example) if output_size is None else output_size
    check.check_size("output_size", size)
    matrix = jnp.asarray(matrix, jnp.float32)
    return warp(
        example,
        move_points(invert(matrix), pixel_centres(size)),
        functools.partial(move_points, matrix),
        mirrored=determinant(matrix) < 0,
        **options,
    )


def resize(example, *, size, min_visible=0.0):
    """Example scaled to size (height, width), the image with antialiasing (triangle filter), masks
    and segments at the nearest pixel.

    Source: the image is `jax.image.resize(..., "linear")`, as torchvision's with antialias=True.
    """
    check.check_example(example)
    check.check_float_image(example["image"])
    check.check_size("resize's size", size)
    height, width = image_size(example)

    def sample(array, *, fill, padding_mode, interpolate):
        del fill, padding_mode  # nothing outside is seen
        method = "linear" if interpolate else "nearest"
        return jax.image.resize(array, (*size, *array.shape[2:]), method)

    matrix = crop_matrix(jnp.array([0.0, 0.0, width, height]), size)
    return remap(example, sample, functools.partial(move_points, matrix), min_visible=min_visible)


def center_crop(example, *, size, min_visible=0.0):
    """Example cut to the middle (height, width), rounded up and to the left."""
    check.check_example(example)
    check.check_size("center_crop's size", size)
    height, width = image_size(example)
    _check_fits("center_crop's size", size, (height, width))
    offset = jnp.array([(height - size[0]) // 2, (width - size[1]) // 2])
    return _crop(example, offset, size, padding=0, min_visible=min_visible)


def random_flip(key, example, *, vertical=False, probability=0.5, keypoint_pairs=()):
    """Example mirrored left to right (or top to bottom) with the given probability.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, C] of any dtype.
        vertical: turns it upside down instead.
        probability: of a flip.
        keypoint_pairs: ((left, right), ...), keypoints that a flip of either kind exchanges.
    """
    check.check_example(example)
    matrix = random_flip_matrix(
        key, image_size(example), vertical=vertical, probability=probability
    )
    flipped = determinant(matrix) < 0

    def sample(array, **unused):
        return jnp.where(flipped, array[::-1] if vertical else array[:, ::-1], array)

    move = functools.partial(move_points, matrix)
    return remap(example, sample, move, mirrored=flipped, keypoint_pairs=keypoint_pairs)


def random_crop(
    key, example, *, padding=0, size=None, fill=0.0, padding_mode="constant", min_visible=0.0
):
    """Example cut at random whole pixels after padding; padding 4 is CIFAR's usual augmentation.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, C] of any dtype.
        padding: pixels added on each side.
        size: (height, width) of the crop; None keeps the image's.
        fill, padding_mode, min_visible: as in `remap.remap`; fill is in the image's own unit.

    Source: He et al. 2015, "Deep residual learning for image recognition", section 4.2.
    """
    check.check_example(example)
    check.check_padding_mode(padding_mode)
    old = image_size(example)
    size = old if size is None else size
    if padding_mode == "reflect" and padding >= min(old):
        raise ValueError(
            f"random_crop's padding must be below {min(old)} to reflect an image of {old},"
            f" got {padding}. Use padding_mode='constant'."
        )
    offset = _random_offset(key, old, size, padding)
    return _crop(
        example,
        offset,
        size,
        padding=padding,
        fill=fill,
        padding_mode=padding_mode,
        min_visible=min_visible,
    )


def random_resized_crop(
    key, example, *, size=None, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), **options
):
    """Example cut to a random part and scaled to one size.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, C] float.
        size: (height, width) of the result; None keeps the image's.
        scale: range of the part's area as a fraction of the image's, uniform.
        ratio: range of the part's width over its height, log-uniform.
        options: those of `transform`, which samples without antialiasing as TensorFlow's
            recipes do.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", section 6; ten attempts and the
    central crop after them as in torchvision, whose crops are rounded to whole pixels and ours not.
    """
    check.check_example(example)
    old = image_size(example)
    size = old if size is None else size
    check.check_size("random_resized_crop's size", size)
    matrix = random_resized_crop_matrix(key, old, size, scale=scale, ratio=ratio)
    return transform(example, matrix, output_size=size, **options)


def random_affine(
    key, example, *, degrees=0.0, translate=0.0, scale=(1.0, 1.0), shear=0.0, **options
):
    """Example rotated, shifted, scaled and sheared at random about the middle of the image.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, C] float.
        degrees: rotation, uniform in -degrees..degrees.
        translate: shift, uniform in -translate..translate times width and height.
        scale: range of the zoom, uniform.
        shear: along x, uniform in -shear..shear degrees, below 90.
        options: those of `transform`.

    Source: torchvision's RandomAffine, but bilinear.
    """
    check.check_example(example)
    matrix = random_affine_matrix(
        key, image_size(example), degrees=degrees, translate=translate, scale=scale, shear=shear
    )
    return transform(example, matrix, **options)


def affine_matrix(size, *, degrees=0.0, translate=(0.0, 0.0), scale=1.0, shear=0.0):
    """Matrix [3, 3] that shears, zooms and rotates about the middle of a canvas, then shifts.

    Args:
        size: (height, width) of the canvas.
        degrees: of rotation, clockwise as seen; multiples of 90 are exact.
        translate: (x, y) in pixels.
        scale: above 1 enlarges.
        shear: degrees, along x: the upper half of the picture moves to the right.

    Source: torchvision.transforms.functional.affine, which inverts the same matrix.
    """
    # Quarter turns apart, so that cos(90 degrees) is 0 and not -4e-8.
    quarters = jnp.round(jnp.asarray(degrees, jnp.float32) / 90)
    rest = jnp.deg2rad(degrees - 90 * quarters)
    cos, sin = jnp.cos(rest), jnp.sin(rest)
    quarters = quarters.astype(jnp.int32) % 4
    cos, sin = (
        jnp.stack([cos, -sin, -cos, sin])[quarters],
        jnp.stack([sin, cos, -sin, -cos])[quarters],
    )
    slope = -jnp.tan(jnp.deg2rad(shear))
    linear = scale * jnp.array([[cos, cos * slope - sin], [sin, sin * slope + cos]])
    middle = jnp.array([size[1] / 2, size[0] / 2])
    shift = middle + jnp.asarray(translate) - (linear * middle).sum(-1)
    return jnp.concatenate(
        [jnp.concatenate([linear, shift[:, None]], axis=1), jnp.array([[0.0, 0.0, 1.0]])]
    )


def random_flip_matrix(key, size, *, vertical=False, probability=0.5):
    """Matrix [3, 3] of the flip that `random_flip` makes with this key, or the identity."""
    check.check_within("random_flip's probability", probability, 0, 1)
    height, width = size
    if vertical:
        flip = jnp.array([[1.0, 0.0, 0.0], [0.0, -1.0, height], [0.0, 0.0, 1.0]])
    else:
        flip = jnp.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return jnp.where(jax.random.bernoulli(key, probability), flip, jnp.eye(3))


def random_crop_matrix(key, size, crop_size, *, padding):
    """Matrix [3, 3] of the shift that `random_crop` makes with this key."""
    offset = _random_offset(key, size, crop_size, padding)
    return _shift_matrix(padding - offset)


def random_resized_crop_matrix(key, size, output_size, *, scale, ratio):
    """Matrix [3, 3] of what `random_resized_crop` does with this key."""
    box, fits = random_box(key, size, scale=scale, ratio=ratio)
    height, width = size
    central_ratio = min(max(width / height, ratio[0]), ratio[1])
    central_width = min(width, height * central_ratio)
    central_height = min(height, width / central_ratio)
    left, top = (width - central_width) / 2, (height - central_height) / 2
    central = jnp.array([left, top, left + central_width, top + central_height])
    return crop_matrix(jnp.where(fits, box, central), output_size)


def random_affine_matrix(key, size, *, degrees, translate, scale, shear):
    """Matrix [3, 3] of what `random_affine` does with this key."""
    check.check_within("degrees", degrees, 0)
    check.check_within("translate", translate, 0)
    check.check_within("shear", shear, 0, 89)
    check.check_range("scale", scale)
    keys = jax.random.split(key, 4)
    limit = translate * jnp.array([size[1], size[0]])
    return affine_matrix(
        size,
        degrees=jax.random.uniform(keys[0], minval=-degrees, maxval=degrees),
        translate=limit * jax.random.uniform(keys[1], (2,), minval=-1, maxval=1),
        scale=jax.random.uniform(keys[2], minval=scale[0], maxval=scale[1]),
        shear=jax.random.uniform(keys[3], minval=-shear, maxval=shear),
    )


def random_box(key, size, *, scale, ratio, attempts=10):
    """A random box within a canvas, and whether one of the attempts fitted.

    Args:
        key: typed PRNG key.
        size: (height, width) of the canvas.
        scale: range of the box's area as a fraction of the canvas's, uniform.
        ratio: range of width over height, log-uniform.
        attempts: how many areas and ratios are drawn; the first that fits is taken.

    Returns:
        [4] float32 x1, y1, x2, y2 and a bool []; without a fit the box means nothing.
    """
    check.check_range("scale", scale)
    check.check_range("ratio", ratio)
    height, width = size
    area_key, ratio_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, (attempts,), minval=scale[0], maxval=scale[1])
    log_ratio = jax.random.uniform(
        ratio_key, (attempts,), minval=math.log(ratio[0]), maxval=math.log(ratio[1])
    )
    widths = jnp.sqrt(area * height * width * jnp.exp(log_ratio))
    heights = jnp.sqrt(area * height * width / jnp.exp(log_ratio))
    fits = (widths <= width) & (heights <= height)
    first = jnp.argmax(fits)
    extent = jnp.stack([widths[first], heights[first]])
    corner = jax.random.uniform(place_key, (2,)) * (jnp.array([width, height]) - extent)
    return jnp.concatenate([corner, corner + extent]), fits[first]


def crop_matrix(box, output_size):
    """Matrix [3, 3] that takes a box [4] to the whole of a canvas (height, width)."""
    zoom = jnp.array([output_size[1], output_size[0]]) / (box[2:] - box[:2])
    return jnp.diag(jnp.append(zoom, 1)).at[:2, 2].set(-zoom * box[:2])


def move_points(matrix, points):
    """Points under an affine map: [3, 3], [..., 2] -> [..., 2]."""
    # Written out, for a matrix product on a GPU rounds its factors to 10 bits by default.
    x, y = points[..., 0:1], points[..., 1:2]
    return matrix[:2, 0] * x + matrix[:2, 1] * y + matrix[:2, 2]


def determinant(matrix):
    """By how much an affine map enlarges areas, negative where it mirrors: [3, 3] -> []."""
    return matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]


def invert(matrix):
    """Inverse of an affine map, [3, 3] -> [3, 3], exact for flips, quarter turns and shifts."""
    (a, b, _), (c, d, _), _ = matrix
    linear = jnp.array([[d, -b], [-c, a]]) / determinant(matrix)
    shift = -(linear * matrix[:2, 2]).sum(-1)
    return jnp.eye(3).at[:2, :2].set(linear).at[:2, 2].set(shift)


def image_size(example):
    """(height, width) of an example's image."""
    return example["image"].shape[:2]


def _random_offset(key, size, crop_size, padding):
    """Row and column of the upper left corner of a crop in the padded image, [2] int32."""
    check.check_within("random_crop's padding", padding, 0)
    check.check_size("random_crop's size", crop_size)
    padded = (size[0] + 2 * padding, size[1] + 2 * padding)
    _check_fits("random_crop's size", crop_size, padded)
    room = jnp.array([padded[0] - crop_size[0], padded[1] - crop_size[1]])
    return jax.random.randint(key, (2,), 0, room + 1)


def _crop(example, offset, size, *, padding, **options):
    def sample(array, *, fill, padding_mode, interpolate):
        del interpolate  # whole pixels
        width = [(padding, padding)] * 2 + [(0, 0)] * (array.ndim - 2)
        constant = {"constant_values": fill} if padding_mode == "constant" else {}
        padded = jnp.pad(array, width, mode=padding_mode, **constant)
        start = [*offset] + [0] * (array.ndim - 2)
        return jax.lax.dynamic_slice(padded, start, (*size, *array.shape[2:]))

    move = functools.partial(move_points, _shift_matrix(padding - offset))
    return remap(example, sample, move, **options)


def _shift_matrix(shift):
    """[2] shift of rows and columns -> [3, 3]."""
    return jnp.eye(3).at[:2, 2].set(shift[::-1])


def _check_fits(name, size, limit):
    if size[0] > limit[0] or size[1] > limit[1]:
        raise ValueError(
            f"{name} must be at most {tuple(limit)} for this image, got {tuple(size)}."
            " Pad it, or resize it first."
        )
