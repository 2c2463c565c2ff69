"""Image files as people have them: found, decoded as viewers show them, fitted to one size."""

import functools
import io
import os
import pathlib
import warnings

import numpy as np

# Names of files that a folder is searched for.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB as RGB


class Unreadable(ValueError):
    """A file that cannot be read as an image; the message names it."""


def decode(file, *, channels, name=None):
    """The picture in a file: path or bytes -> uint8 [H, W, channels], upright.

    What viewers do is done: the rotation that EXIF asks for, CMYK and palettes to RGB, 16 bits to
    the upper 8, transparency over white, the first frame of an animation. Colour profiles are
    ignored. Grey is repeated for 3 channels; colour becomes ITU-R 601 luma for 1.

    Args:
        file: a path, or the encoded bytes.
        channels: 1 (grey) or 3 (RGB).
        name: what errors call the file; default: its path.

    Raises:
        Unreadable: the file is missing, empty, truncated, no image, of a kind without a defined
            range (floating point), or has more than MAX_PIXELS pixels.
        ValueError: other channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}.")
    encoded = isinstance(file, bytes)
    name = name or ("<bytes>" if encoded else str(file))
    if not encoded and not os.path.isfile(file):
        raise Unreadable(f"{name}: there is no such file. Check the path.")
    try:
        with _pillow().open(io.BytesIO(file) if encoded else file) as image:
            if image.width * image.height <= MAX_PIXELS:
                return _to_array(image, channels)
    except Exception as error:  # Pillow raises a dozen types for damaged files
        if not isinstance(error, _pillow().DecompressionBombError):
            raise Unreadable(
                f"{name}: cannot be read as an image ({_problem(error)})."
                " It may be empty, cut short or of another kind: replace or remove it."
            ) from error
    raise Unreadable(
        f"{name}: has more than the {MAX_PIXELS:,} pixels that are decoded. Shrink it first."
    )


def fit(image, *, size):
    """An image's largest centred square, resized: uint8 [H, W, C] -> uint8 [size, size, C].

    Bilinear with half-pixel centres, antialiased where it shrinks (Pillow's, which torchvision
    uses too). The same field of view as resizing the shorter side to `size` and cutting out the
    centre, so a further centre crop of 224 out of size 256 is ImageNet's usual evaluation.
    """
    height, width, channels = image.shape
    if height == width == size:
        return image
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    picture = _pillow().fromarray(image[:, :, 0] if channels == 1 else image)
    bilinear = _pillow().Resampling.BILINEAR
    fitted = picture.resize((size, size), bilinear, box=(left, top, left + side, top + side))
    return np.asarray(fitted).reshape(size, size, channels)


def find(paths):
    """Files to read, sorted within each folder: paths of files and folders -> list of file paths.

    A folder stands for every file below it with one of SUFFIXES, hidden ones left out. A file is
    taken as it is.

    Raises:
        ValueError: a path does not exist, or a folder holds no image.
    """
    found = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_image(p) and p.is_file())
            if not inside:
                raise ValueError(
                    f"{path}: the folder holds no image ({' '.join(SUFFIXES)})."
                    " Name another folder, or the files themselves."
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"{path}: there is no such file or folder. Check the path.")
    return [str(path) for path in found]


def is_image(path):
    """Whether a path is named like an image and is not hidden."""
    path = pathlib.Path(path)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


@functools.cache
def _pillow():
    from PIL import Image

    # From MAX_PIXELS on Pillow warns; the refusal above says it better.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return Image


def _to_array(image, channels):
    from PIL import ImageOps

    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits, which Pillow may hold as 32
        wide = np.asarray(image).clip(0, 65535)
        image = _pillow().fromarray((wide >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = _pillow().alpha_composite(_pillow().new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    return np.array(image).reshape(image.height, image.width, channels)


def _problem(error):
    if isinstance(error, _pillow().UnidentifiedImageError):
        return "no known format"
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
