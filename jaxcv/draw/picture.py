"""A picture: uint8 [H, W, 3]. Checks, colours and text that every drawing shares, and files."""

import colorsys
import functools
import os
import pathlib

import numpy as np

INK = (32, 32, 36)  # text and lines on paper
PAPER = (255, 255, 255)
RIGHT = (24, 140, 70)
WRONG = (205, 40, 50)
FAINT = (235, 235, 238)
TEXT = 13  # height of the type in pixels


def enlarge(image, factor):
    """The image `factor` (an integer) times as large, each pixel a square: uint8 [H, W, 3]."""
    if factor < 1 or factor != int(factor):
        raise ValueError(f"factor must be a whole number from 1 on, got {factor}.")
    return as_picture(image).repeat(int(factor), axis=0).repeat(int(factor), axis=1)


def save(path, picture):
    """Writes a picture as a PNG file, whole or not at all. Folders on the way are made.

    Raises:
        ValueError: the name does not end in .png, or the picture is none.
    """
    from PIL import Image

    path = pathlib.Path(path)
    if path.suffix != ".png":
        raise ValueError(f"path must end in .png, got {str(path)!r}.")
    picture = as_picture(picture, "picture")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        Image.fromarray(picture).save(temporary, format="PNG")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def as_picture(image, name="image"):
    """An image, uint8 or float 0..1, [H, W, 1] or [H, W, 3] -> a new uint8 [H, W, 3].

    Raises:
        ValueError: another shape or type, or floats outside 0..1 by more than rounding.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or 0 in image.shape:
        raise ValueError(
            f"{name} must be [H, W, 1] or [H, W, 3], got {list(image.shape)}."
            " Draw the images of a batch one by one; give a [H, W] one a last axis: [..., None]."
        )
    if np.issubdtype(image.dtype, np.floating):
        # A comparison with nan is false, so nan is refused too.
        if not (image.min() >= -1e-3 and image.max() <= 1 + 1e-3):
            raise ValueError(
                f"{name} must be within 0..1 as it is float, got {image.min():g}..{image.max():g}."
                " Undo its normalisation, or cast an image of 0..255 to uint8."
            )
        image = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ValueError(f"{name} must be uint8 or float 0..1, got {image.dtype}. Cast it.")
    return np.array(np.broadcast_to(image, (*image.shape[:2], 3)))


@functools.cache
def colour(index):
    """The colour of class or instance `index`: (r, g, b), neighbours far apart in hue."""
    hue = (0.58 + index * 0.618034) % 1  # the golden ratio never comes back to a hue
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.75, 0.55, 0.9)[index // 8 % 3], 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def black_or_white(background):
    """The colour of text that reads well on an (r, g, b) background."""
    return INK if np.dot(background, (0.299, 0.587, 0.114)) > 140 else PAPER


def write(canvas, text, x, y, *, anchor, colour=INK, size=TEXT, upwards=False):
    """Writes a line of text on a Pillow image, in place.

    Args:
        canvas: Pillow image, RGB.
        x, y: where the anchor lies.
        anchor: of the text's box as it stands on the canvas: l, m or r, then t, m or b.
        upwards: whether the line runs from the bottom to the top.
    """
    from PIL import Image, ImageDraw

    wide, high = text_width(text, size), size + 2
    ink = Image.new("L", (wide, high))
    ImageDraw.Draw(ink).text((wide / 2, high / 2), text, 255, font(size), anchor="mm")
    if upwards:
        ink = ink.transpose(Image.Transpose.ROTATE_90)
    left = x - ink.width * "lmr".index(anchor[0]) / 2
    top = y - ink.height * "tmb".index(anchor[1]) / 2
    canvas.paste(colour, (round(left), round(top)), ink)


def text_width(text, size=TEXT):
    """Width in pixels, an int, of a line as `write` writes it."""
    return int(np.ceil(font(size).getlength(text))) + 1


def fit_text(text, width):
    """The text, shortened by an ellipsis where it is wider than `width` pixels."""
    text = str(text)
    if text_width(text) <= width:
        return text
    while text and text_width(text + "…") > width:
        text = text[:-1]
    return text + "…"


@functools.cache
def font(size):
    """Pillow's own typeface."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
