"""Digit scenes: real handwritten digits on a cluttered canvas, with exact ground truth for boxes,
instance masks, the semantic map and keypoints.

Each scene is a pure function of (seed, split, index). Digits of `jaxcv.data.digits`, of the same
split, are scaled, turned and placed at random and drawn by bilinear sampling of their 8x8 images,
later ones in front of earlier ones. Clutter (strokes) lies behind all digits.

The truth:

masks: the visible (modal) part: what a digit's outline encloses and no later digit's covers.
boxes: the tight box of the visible mask; around pixels i..j it is [i, j + 1].
segments: 0 is background, 1 + digit elsewhere; it follows from the masks. 255 does not occur.
keypoints: the topmost, bottommost, leftmost and rightmost solid ink of the digit in its own
    upright 8x8 image (KEYPOINT_NAMES), carried along by the placement: "top" of a 4 stays the tip
    of its stroke however the 4 is turned. Each is the centre of a cell of that image. Visibility
    2 is seen; 1 is under another digit's mask or outside the image (the place is still given); 0
    is a row that is not valid.
"""

import dataclasses
import difflib
import functools
import math

import numpy as np

from jaxcv.data import digits
from jaxcv.data.source import Source

CLASS_NAMES = tuple("0123456789")
KEYPOINT_NAMES = ("top", "bottom", "left", "right")

CELLS = 8  # a digit's own image is 8x8
OUTLINE = 0.45  # where a digit ends: its interpolated image is 0 on paper, 1 in the darkest ink
SOLID = 0.6  # ink of a keypoint: fainter specks are lost between the pixels of a small digit
ATTEMPTS = 20  # places tried for a digit before it is left out


@dataclasses.dataclass(frozen=True)
class Options:
    """How hard the scenes are. Lengths are in pixels, brightness within 0..1."""

    min_objects: int = 1  # digits in a scene; one without a free place is left out
    max_objects: int = 4  # also the N of the arrays
    min_scale: float = 16.0  # side of a digit's 8x8 image as drawn
    max_scale: float = 32.0
    rotation: float = 15.0  # degrees to either side; 180 is any direction (6 and 9 then look alike)
    max_overlap: float = 0.3  # greatest IoU of two digits' boxes, hidden parts included
    min_visible: float = 0.5  # least part of each digit's ink that stays visible
    truncation: float = 0.0  # how far a digit may reach over the edge, as part of its side
    strokes: int = 4  # thin straight lines behind the digits
    noise: float = 0.03  # standard deviation of Gaussian noise in every pixel and channel
    background: float = 0.3  # greatest brightness of the background, a ramp; 0 is black
    ink: float = 0.7  # least brightness of digits and strokes
    colour: bool = True  # a hue for the background and each digit and stroke; needs 3 channels

    def __post_init__(self):
        _check_options(self)


def scene(index, *, seed=0, split="train", image_size=64, channels=1, **options):
    """One scene and its ground truth.

    Args:
        index: int >= 0; scenes of one seed and split differ by it.
        seed: int >= 0.
        split: "train" or "test", which share no handwritten digit.
        image_size: side S of the image in pixels.
        channels: C, 1 or 3.
        **options: fields of `Options`; N is its max_objects.

    Returns:
        {"image": uint8 [S, S, C], "boxes": float32 [N, 4], "classes": int32 [N], "masks": bool
        [N, S, S], "segments": int32 [S, S], "keypoints": float32 [N, 4, 3], "valid": bool [N]}.
        The digits come first, in the order they are drawn (the last is in front); rows beyond them
        are 0 and not valid.

    Raises:
        ValueError: an argument or option that is unknown or out of its range.

    Cost: with the default options 1 ms, in colour 1.5 ms; 8 digits at S = 128 5 ms (one core).
    """
    known = [field.name for field in dataclasses.fields(Options)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known) or known
            raise ValueError(f"digit scenes have no option {name!r}. Nearest: {', '.join(near)}.")
    options = Options(**options)
    _check_canvas(split, image_size, channels, options)
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be 0 or more, got {index} and {seed}.")
    return _scene(index, seed, split, image_size, channels, options)


def source(scenes_config, split, *, image_size=0, channels=0):
    """The digit scenes of a config as a data set.

    Args:
        scenes_config: has the fields of `Options` and seed, train_size, test_size as attributes.
            The scenes depend on this seed alone, not on the run's.
        split: "train" or "test".
        image_size: side of the images in pixels; 0: 64.
        channels: 1 or 3; 0: 1.

    Returns:
        A `Source` whose examples are those of `scene`.

    Raises:
        ValueError: a field out of its range.
    """
    image_size, channels = image_size or 64, channels or 1
    options = Options(
        **{field.name: getattr(scenes_config, field.name) for field in dataclasses.fields(Options)}
    )
    _check_canvas(split, image_size, channels, options)
    size = getattr(scenes_config, f"{split}_size")
    if size < 1:
        raise ValueError(f"{split}_size must be 1 or more, got {size}.")
    if scenes_config.seed < 0:
        raise ValueError(f"seed must be 0 or more, got {scenes_config.seed}.")
    return Source(
        name="digit_scenes",
        split=split,
        size=size,
        read=functools.partial(
            _read,
            seed=scenes_config.seed,
            split=split,
            image_size=image_size,
            channels=channels,
            options=options,
        ),
        class_names=CLASS_NAMES,
        in_memory=False,
        example_name=functools.partial("digit_scenes/{}/{}".format, split),
    )


@dataclasses.dataclass(frozen=True)
class _Placement:
    """A digit at its place."""

    label: int
    window: tuple[slice, slice]  # the rows and columns of the canvas that it may cover
    opacity: np.ndarray  # [h, w] float32 in 0..1, of the window
    mask: np.ndarray  # [h, w] bool: where the opacity is at least a half
    area: int  # of the whole mask, with what lies outside the canvas
    box: np.ndarray  # [4] tight box of the mask on the canvas
    keypoints: np.ndarray  # [4, 2] x, y on the canvas


def _read(indices, **arguments):
    scenes = [_scene(int(index), **arguments) for index in indices]
    return {name: np.stack([scene[name] for scene in scenes]) for name in scenes[0]}


def _scene(index, seed, split, image_size, channels, options):
    # The last word of the counter keeps the splits apart; no scene draws 2^192 numbers.
    bits = np.random.Philox(key=[seed, index], counter=[0, 0, 0, digits.SPLITS.index(split)])
    rng = np.random.Generator(bits)
    placements, owner = _place(rng, split, image_size, options)
    image = _paint(rng, placements, image_size, channels, options)
    return {"image": image, **_truth(placements, owner, options.max_objects)}


def _truth(placements, owner, max_objects):
    """Ground truth from the placements and `owner` [S, S], the frontmost digit of each pixel."""
    masks = owner == np.arange(max_objects)[:, None, None]  # [N, S, S]
    classes = np.zeros(max_objects, np.int32)
    boxes = np.zeros((max_objects, 4), np.float32)
    keypoints = np.zeros((max_objects, len(KEYPOINT_NAMES), 3), np.float32)
    for i, placement in enumerate(placements):
        classes[i] = placement.label
        boxes[i] = _tight_box(masks[i])
        keypoints[i, :, :2] = placement.keypoints
        keypoints[i, :, 2] = [_visibility(x, y, i, owner) for x, y in keypoints[i, :, :2]]
    # Row -1 of the labels is the background, which is what an unowned pixel (-1) looks up.
    labels = np.append(1 + classes, 0).astype(np.int32)
    return {
        "boxes": boxes,
        "classes": classes,
        "masks": masks,
        "segments": labels[owner],
        "keypoints": keypoints,
        "valid": np.arange(max_objects) < len(placements),
    }


def _visibility(x, y, instance, owner):
    column, row = math.floor(x), math.floor(y)
    inside = 0 <= row < owner.shape[0] and 0 <= column < owner.shape[1]
    return 2 if inside and owner[row, column] <= instance else 1


def _place(rng, split, image_size, options):
    """Placements in drawing order and, for each pixel, the frontmost one or -1 ([S, S])."""
    placements = []
    owner = np.full((image_size, image_size), -1)
    wanted = options.min_objects + _below(rng, options.max_objects - options.min_objects + 1)
    for _ in range(wanted):
        for _ in range(ATTEMPTS):
            new = _placement(rng, split, image_size, options)
            after = owner.copy()
            after[new.window][new.mask] = len(placements)
            if _fits(new, placements, after, options):
                placements, owner = [*placements, new], after
                break
    return placements, owner


def _fits(new, placements, owner, options):
    if any(_iou(new.box, other.box) > options.max_overlap for other in placements):
        return False
    whole = np.array([placement.area for placement in [*placements, new]])
    visible = np.bincount(owner.ravel() + 1, minlength=len(whole) + 1)[1:]
    return bool(np.all((visible > 0) & (visible >= options.min_visible * whole)))


def _placement(rng, split, image_size, options):
    """A digit drawn at a random place, scale and rotation."""
    images, labels, extrema = _digits(split)
    number = _below(rng, len(labels))
    size, turn, *place = rng.random(4)
    side = options.min_scale + (options.max_scale - options.min_scale) * size
    angle = math.radians(options.rotation) * (2 * turn - 1)
    cos, sin = math.cos(angle), math.sin(angle)
    spread = abs(cos) + abs(sin)  # width of a unit square turned by the angle
    margin = side * (spread / 2 - options.truncation)
    centre = margin + (image_size - 2 * margin) * np.array(place)  # x, y

    # Interpolated ink ends half a cell beyond the image of the digit.
    reach = spread * side / 2 * (CELLS + 1) / CELLS
    low = np.floor(centre - reach).astype(int)
    high = np.ceil(centre + reach).astype(int)
    x = np.arange(low[0], high[0]) + 0.5 - centre[0]  # pixel centres
    y = (np.arange(low[1], high[1]) + 0.5 - centre[1])[:, None]
    cell = side / CELLS
    ink = _bilinear(images[number], (cos * x + sin * y) / cell, (cos * y - sin * x) / cell)
    area = np.count_nonzero(ink >= OUTLINE)

    first, last = np.clip([low, high], 0, image_size)
    ink = ink[first[1] - low[1] : last[1] - low[1], first[0] - low[0] : last[0] - low[0]]
    mask = ink >= OUTLINE
    u, v = extrema[number].T * cell
    return _Placement(
        label=labels[number],
        window=(slice(first[1], last[1]), slice(first[0], last[0])),
        # The ink's edge fades over a cell, which is `cell` pixels; this one fades over a pixel.
        opacity=np.clip((ink - OUTLINE) * cell + 0.5, 0, 1),
        mask=mask,
        area=area,
        box=_tight_box(mask) + np.tile(first, 2),
        keypoints=np.stack([cos * u - sin * v, sin * u + cos * v], axis=-1) + centre,
    )


def _bilinear(image, u, v):
    """The [8 + 2, 8 + 2] image, its border 0, at cells u right of and v below its middle."""
    u = np.clip(u + (CELLS + 1) / 2, 0, CELLS + 0.999)
    v = np.clip(v + (CELLS + 1) / 2, 0, CELLS + 0.999)
    column, row = u.astype(int), v.astype(int)
    u, v = u - column, v - row
    corner = row * (CELLS + 2) + column  # of the cell above and left of each point
    flat = image.ravel()
    above = flat[corner] * (1 - u) + flat[corner + 1] * u
    below = flat[corner + CELLS + 2] * (1 - u) + flat[corner + CELLS + 3] * u
    return (above * (1 - v) + below * v).astype(np.float32)


@functools.cache
def _digits(split):
    """Ink [n, 10, 10] in 0..1 with a border of 0, labels [n] and extrema [n, 4, 2]."""
    images, labels = digits.arrays(split)
    ink = images.astype(np.float32) / 255
    extrema = np.stack([_extrema(image) for image in ink])
    return np.pad(ink, ((0, 0), (1, 1), (1, 1))), labels, extrema


def _extrema(ink):
    """The outermost ink up, down, left and right: x, y from the image's middle in cells [4, 2].

    Where the outermost row (column) has several solid cells, the one nearest to their mean.
    """
    row, column = np.nonzero(ink >= SOLID)
    found = []
    for along, across in ((row, column), (-row, column), (column, row), (-column, row)):
        outermost = np.flatnonzero(along == along.min())
        distance = np.abs(across[outermost] - across[outermost].mean())
        found.append(outermost[np.argmin(distance)])
    return np.stack([column[found], row[found]], axis=-1) + 0.5 - CELLS / 2


def _paint(rng, placements, image_size, channels, options):
    """The picture, back to front: background, strokes, digits, noise. uint8 [S, S, C]."""
    ramp = _ramp(rng, image_size)[..., None]
    colours = [_colour(rng, 0, options.background, channels, options) for _ in range(2)]
    image = colours[0] + (colours[1] - colours[0]) * ramp  # [S, S, C]
    for _ in range(options.strokes):
        _blend(image, _stroke(rng, image_size), _colour(rng, options.ink, 1, channels, options))
    for placement in placements:
        colour = _colour(rng, options.ink, 1, channels, options)
        _blend(image[placement.window], placement.opacity, colour)
    if options.noise:
        image += options.noise * rng.standard_normal(image.shape, np.float32)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _blend(canvas, opacity, colour):
    """Paints a colour over the canvas, in place."""
    canvas += opacity[..., None] * (colour - canvas)


def _colour(rng, low, high, channels, options):
    """[C] float32: grey or a hue, its greatest channel within low..high."""
    brightness, hue, saturation = rng.random(3)
    brightness = low + (high - low) * brightness
    if channels == 1 or not options.colour:
        return np.full(channels, brightness, np.float32)
    distance = np.abs((6 * hue - np.array([0, 2, 4]) + 3) % 6 - 3)  # from red, green and blue
    pure = np.clip(2 - distance, 0, 1)
    return (brightness * (1 - 0.9 * saturation * (1 - pure))).astype(np.float32)


def _ramp(rng, image_size):
    """[S, S] float32 from 0 to 1 along a random direction."""
    angle = 2 * math.pi * rng.random()
    x = np.linspace(-0.5, 0.5, image_size, dtype=np.float32)
    across, down = math.cos(angle), math.sin(angle)
    return 0.5 + (across * x + down * x[:, None]) / (abs(across) + abs(down))


def _stroke(rng, image_size):
    """[S, S] float32: an anti-aliased line 1 to 2 pixels thick, up to half the image long."""
    x, y, direction, length, thickness = rng.random(5)
    half = image_size * (0.05 + 0.2 * length)
    across, down = math.cos(math.pi * direction), math.sin(math.pi * direction)
    column = np.arange(image_size, dtype=np.float32) + 0.5 - image_size * x
    row = (np.arange(image_size, dtype=np.float32) + 0.5 - image_size * y)[:, None]
    beyond = np.maximum(np.abs(across * column + down * row) - half, 0)  # past the line's ends
    beside = across * row - down * column
    return np.clip(1 + thickness / 2 - np.hypot(beyond, beside), 0, 1)


def _below(rng, n):
    return int(n * rng.random())


def _tight_box(mask):
    """x1, y1, x2, y2 around a mask's pixels; all 0 around none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _iou(box1, box2):
    width = min(box1[2], box2[2]) - max(box1[0], box2[0])
    height = min(box1[3], box2[3]) - max(box1[1], box2[1])
    overlap = max(width, 0) * max(height, 0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (box1, box2)]
    return overlap / (sum(areas) - overlap) if overlap else 0.0


def _check_options(options):
    ranges = {
        "max_objects": (1, math.inf),
        "min_objects": (0, options.max_objects),
        "min_scale": (CELLS, options.max_scale),
        "rotation": (0, 180),
        "max_overlap": (0, 1),
        "min_visible": (0, 1),
        "truncation": (0, 0.5),
        "strokes": (0, math.inf),
        "noise": (0, 1),
        "background": (0, 1),
        "ink": (options.background, 1),
    }
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise ValueError(f"{name} must be within {low:g} and {high:g}, got {value:g}.")


def _check_canvas(split, image_size, channels, options):
    if split not in digits.SPLITS:
        raise ValueError(f"split must be one of {', '.join(digits.SPLITS)}, got {split!r}.")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}.")
    angle = math.radians(min(options.rotation, 45))
    spread = math.cos(angle) + math.sin(angle)  # of the widest turn
    need = math.ceil(options.max_scale * (spread - 2 * options.truncation))
    if image_size < need:
        raise ValueError(
            f"image_size must be at least {need} for digits of max_scale {options.max_scale:g}"
            f" turned by up to {options.rotation:g} degrees, got {image_size}."
            " Lower max_scale or rotation, or allow more truncation."
        )
