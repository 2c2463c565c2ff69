"""What a network found, drawn over its image: boxes, masks, keypoints, maps of classes or heat."""

import numpy as np

from jaxcv.draw import picture

FAR = 1000  # pixels beyond the image where a box ends that reaches further: integers overflow


def boxes(image, boxes, *, classes=None, class_names=None, scores=None, valid=None, scale=1):
    """The image with a frame around each box, named by its class and score where given.

    Args:
        image: [H, W, 1 or 3] uint8 or float 0..1.
        boxes: [N, 4] x1, y1, x2, y2 in pixels. The frame lies on the outermost pixels inside; a
            box that is not finite is not drawn.
        classes: [N] int. Boxes of one class share a colour; without it each has its own.
        class_names: name of each class, shown in place of its number.
        scores: [N] float, shown in percent.
        valid: [N] bool; the others are not drawn.
        scale: pixels of the image for one of the boxes: the factor the image was enlarged by.

    Returns:
        uint8 [H, W, 3].
    """
    from PIL import Image, ImageDraw

    boxes = _checked("boxes", boxes, (None, 4))
    valid = np.ones(len(boxes), bool) if valid is None else np.asarray(valid)
    _check_lengths(len(boxes), classes=classes, scores=scores, valid=valid)
    canvas = Image.fromarray(picture.as_picture(image))
    pen = ImageDraw.Draw(canvas)
    tags = []  # over all frames
    for i in np.flatnonzero(valid & np.isfinite(boxes).all(axis=1)):
        colour = picture.colour(int(i if classes is None else classes[i]))
        corners = np.clip(np.rint(scale * boxes[i]), -FAR, max(canvas.size) + FAR)
        x1, y1, x2, y2 = corners.astype(int).tolist()
        x2, y2 = max(x2 - 1, x1), max(y2 - 1, y1)  # Pillow's corners belong to the frame
        pen.rectangle([x1, y1, x2, y2], outline=colour, width=max(1, min(canvas.size) // 160))
        words = []
        if classes is not None:
            words.append(str(class_names[classes[i]] if class_names else classes[i]))
        if scores is not None:
            words.append(f"{100 * scores[i]:.0f} %")
        if words:
            tags.append((x1, y1, ": ".join(words), colour))
    for tag in tags:
        _tag(canvas, *tag)
    return np.array(canvas)


def masks(image, masks, *, classes=None, valid=None, scale=1, opacity=0.45):
    """The image with each instance mask tinted and outlined.

    Args:
        image: [H, W, 1 or 3] uint8 or float 0..1.
        masks: [N, H, W], what is at least 0.5 belongs to the instance; later ones lie in front.
        classes: [N] int. Masks of one class share a colour; without it each has its own.
        valid: [N] bool; the others are not drawn.
        scale: pixels of the image for one of the masks, as in `boxes`.
        opacity: of the tint, 0..1; the outline is opaque.

    Returns:
        uint8 [H, W, 3].
    """
    canvas = picture.as_picture(image)
    high, wide = canvas.shape[:2]
    masks = _checked("masks", masks, (None, high / scale, wide / scale)) >= 0.5
    masks = _enlarged(masks, scale)
    valid = np.ones(len(masks), bool) if valid is None else np.asarray(valid)
    _check_lengths(len(masks), classes=classes, valid=valid)
    for i in np.flatnonzero(valid):
        colour = picture.colour(int(i if classes is None else classes[i]))
        canvas[masks[i]] = _mix(canvas[masks[i]], colour, opacity)
        canvas[masks[i] & ~_eroded(masks[i])] = colour
    return canvas


def keypoints(image, keypoints, *, edges=(), valid=None, scale=1):
    """The image with a dot on each seen keypoint, a ring on each hidden one, and a skeleton.

    Args:
        image: [H, W, 1 or 3] uint8 or float 0..1.
        keypoints: [N, K, 3] x, y, visibility (0 absent, 1 hidden, 2 seen). Each of the K has its
            colour. One that is not finite is absent.
        edges: pairs (a, b) of keypoints joined by a line where neither is absent, in the colour of
            the instance.
        valid: [N] bool; the others are not drawn.
        scale: pixels of the image for one of the keypoints, as in `boxes`.

    Returns:
        uint8 [H, W, 3].
    """
    from PIL import Image, ImageDraw

    keypoints = _checked("keypoints", keypoints, (None, None, 3))
    valid = np.ones(len(keypoints), bool) if valid is None else np.asarray(valid)
    _check_lengths(len(keypoints), valid=valid)
    canvas = Image.fromarray(picture.as_picture(image))
    pen = ImageDraw.Draw(canvas)
    radius = max(1, min(canvas.size) // 90)
    for i in np.flatnonzero(valid):
        visibility = np.where(np.isfinite(keypoints[i]).all(axis=1), keypoints[i, :, 2], 0)  # [K]
        # Pillow counts from the centre of the first pixel, keypoints from its corner.
        points = [(scale * x - 0.5, scale * y - 0.5) for x, y, _ in keypoints[i].tolist()]
        for a, b in edges:
            if visibility[a] and visibility[b]:
                pen.line([points[a], points[b]], fill=picture.colour(int(i)), width=radius)
        for k in np.flatnonzero(visibility):
            colour = picture.colour(int(k))
            if visibility[k] == 2:
                pen.circle(points[k], radius, fill=colour, outline=picture.black_or_white(colour))
            else:
                pen.circle(points[k], radius, outline=colour)
    return np.array(canvas)


def segments(image, segments, *, background=0, ignore=255, scale=1, opacity=0.6):
    """The image tinted by a semantic map, each class in its colour.

    Args:
        image: [H, W, 1 or 3] uint8 or float 0..1.
        segments: [H, W] int.
        background: the class left as it is; None where every class is to be tinted.
        ignore: the label of pixels without a class, tinted grey.
        scale: pixels of the image for one of the map, as in `boxes`.
        opacity: of the tint, 0..1.

    Returns:
        uint8 [H, W, 3].
    """
    canvas = picture.as_picture(image)
    high, wide = canvas.shape[:2]
    segments = _enlarged(_checked("segments", segments, (high / scale, wide / scale)), scale)
    for label in np.unique(segments).tolist():
        if label != background:
            inside = segments == label
            colour = (128, 128, 128) if label == ignore else picture.colour(label)
            canvas[inside] = _mix(canvas[inside], colour, opacity)
    return canvas


def heat(image, values, *, limits=None, opacity=0.5):
    """The image under colours from blue (low) over green to red (high): a map of evidence.

    Args:
        image: [H, W, 1 or 3] uint8 or float 0..1.
        values: [h, w] finite, of a map that covers the image; brought to its size by bilinear
            interpolation.
        limits: values shown in the lowest and the highest colour; None: the map's own extremes.
        opacity: of the colours, 0..1.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: values are not [h, w], or not finite.
    """
    from matplotlib import colormaps
    from PIL import Image

    canvas = picture.as_picture(image)
    values = _checked("values", values, (None, None)).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("values must be finite, got nan or inf.")
    low, high = (values.min(), values.max()) if limits is None else limits
    share = (values - low) / (high - low if high > low else 1)
    form = (canvas.shape[1], canvas.shape[0])
    share = np.asarray(Image.fromarray(share).resize(form, Image.Resampling.BILINEAR))
    colours = 255 * colormaps["turbo"](np.clip(share, 0, 1))[..., :3]
    return _mix(canvas, colours, opacity)


def _tag(canvas, x, y, text, colour):
    """A line of text on a strip of the colour above the point, below it where there is no room."""
    size = int(np.clip(min(canvas.size) // 24, 10, 22))
    wide, high = picture.text_width(text, size) + 4, size + 4
    x = max(0, min(x, canvas.width - wide))
    y = y - high if y >= high else y
    canvas.paste(colour, (x, y, x + wide, y + high))
    ink = picture.black_or_white(colour)
    picture.write(canvas, text, x + 2, y + 2, anchor="lt", colour=ink, size=size)


def _mix(pixels, colour, opacity):
    return np.rint((1 - opacity) * pixels + opacity * np.array(colour)).astype(np.uint8)


def _enlarged(maps, scale):
    return maps.repeat(scale, axis=-2).repeat(scale, axis=-1)


def _eroded(mask):
    """The pixels of a mask whose four neighbours belong to it; beyond the image, all do."""
    padded = np.pad(mask, 1, constant_values=True)
    beside = padded[1:-1, :-2] & padded[1:-1, 2:] & padded[:-2, 1:-1] & padded[2:, 1:-1]
    return mask & beside


def _checked(name, array, shape):
    """The array, of the shape asked for (None: any length)."""
    array = np.asarray(array)
    if array.ndim != len(shape) or any(
        wanted not in (None, found) for wanted, found in zip(shape, array.shape)
    ):
        wanted = ", ".join("any" if n is None else f"{n:g}" for n in shape)
        raise ValueError(
            f"{name} must be [{wanted}], got {list(array.shape)}. Draw the images of a batch one"
            " by one; the image is `scale` times as large as what is drawn over it."
        )
    return array


def _check_lengths(length, **columns):
    for name, column in columns.items():
        if column is not None and np.shape(column) != (length,):
            raise ValueError(f"{name} must be [{length}], got {list(np.shape(column))}.")
