"""A contact sheet: many images at one glance."""

import numpy as np

from jaxcv.draw import picture

GAP = 10


def grid(images, *, captions=None, correct=None, columns=None, cell=112):
    """Images side by side on white paper, in rows, each in a square cell of its own.

    Args:
        images: sequence of [H, W, 1 or 3] uint8 or float 0..1, of any sizes. Small ones are
            enlarged by a whole number, each pixel a square; large ones are shrunk to the cell.
        captions: a line of text below each image, shortened where it is too long.
        correct: [len(images)] bool: right answers are framed and captioned in green, wrong ones in
            red.
        columns: images in a row; as many as make the sheet about square where None.
        cell: side of a cell in pixels.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: no images, columns below 1, or captions or correct of another length.
    """
    from PIL import Image, ImageDraw

    images = [picture.as_picture(image, f"images[{i}]") for i, image in enumerate(images)]
    if not images:
        raise ValueError("images must hold at least one image, got none.")
    for name, given in (("captions", captions), ("correct", correct)):
        if given is not None and len(given) != len(images):
            raise ValueError(f"{name} must be as many as images ({len(images)}), got {len(given)}.")
    if columns is None:
        columns = int(np.ceil(np.sqrt(len(images))))
    if columns < 1:
        raise ValueError(f"columns must be 1 or more, got {columns}.")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    across = cell + GAP
    down = cell + GAP + (picture.TEXT + 4 if captions is not None else 0)
    sheet = Image.new("RGB", (GAP + columns * across, GAP + rows * down), picture.PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, image in enumerate(images):
        tile = fitted(image, cell)
        x = GAP + i % columns * across + (cell - tile.width) // 2
        y = GAP + i // columns * down + (cell - tile.height) // 2
        sheet.paste(tile, (x, y))
        colour = picture.INK
        if correct is not None:
            colour = picture.RIGHT if correct[i] else picture.WRONG
            corners = [x - 3, y - 3, x + tile.width + 2, y + tile.height + 2]
            pen.rectangle(corners, outline=colour, width=3)
        if captions is not None:
            middle = GAP + i % columns * across + cell / 2
            below = GAP + i // columns * down + cell + 4
            text = picture.fit_text(captions[i], cell)
            picture.write(sheet, text, middle, below, anchor="mt", colour=colour)
    return np.array(sheet)


def fitted(image, cell):
    """The image as large as the cell allows."""
    from PIL import Image

    longer = max(image.shape[:2])
    if longer <= cell:
        return Image.fromarray(picture.enlarge(image, cell // longer))
    high, wide = (max(1, round(side * cell / longer)) for side in image.shape[:2])
    return Image.fromarray(image).resize((wide, high), Image.Resampling.LANCZOS)
