"""What an output pixel sees of the image: receptive fields by arithmetic and by gradient.

Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks", Distill 2019.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Window(NamedTuple):
    """A convolution or pooling along one axis, in pixels of its input."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0  # before the first pixel


class ReceptiveField(NamedTuple):
    """Of a map's pixels along one axis, in pixels of the image."""

    size: int  # pixels that one of the map's depends on
    jump: int  # from the field of one to that of the next: the stride of the map
    start: float  # centre of the first one's field, where the image's first pixel has its at 0.5


def receptive_field(windows):
    """The ReceptiveField behind a sequence of Window, of the image itself where there is none.

    Raises:
        ValueError: a kernel, stride or dilation below 1, or padding below 0.

    Source: section 2 of the paper; of branches that join the largest field counts, and all must
        have one jump.
    """
    size, jump, start = 1, 1, 0.5
    for window in (Window(*one) for one in windows):
        if min(window.kernel, window.stride, window.dilation) < 1 or window.padding < 0:
            raise ValueError(
                f"kernel, stride and dilation must be at least 1, padding at least 0, got {window}."
            )
        reach = window.dilation * (window.kernel - 1)
        size += reach * jump
        start += (reach / 2 - window.padding) * jump
        jump *= window.stride
    return ReceptiveField(size, jump, start)


def measured_receptive_field(model, image_shape, stage):
    """The ReceptiveField of a stage of a model, (down, right), by gradient: whatever the layers.

    All parameters are replaced by positive ones, so that no influence is cut by a ReLU or cancelled
    by another, and the image by a ramp, towards the bottom right and towards the top left, so that
    of each maximum's window the outermost pixel wins.

    Args:
        model: a linen module of `models.create`; narrow ones have the same fields.
        image_shape: [1, H, W, C], large enough for the field of a pixel in the middle of the map.
        stage: name of the stage.

    Raises:
        ValueError: no such stage, a map of fewer than two pixels a side, or a field that reaches
            the border of the image: it may be larger, or everything.

    Source: section 4 of the paper measures likewise, for the effective field.
    """
    image = _ramp(image_shape)
    variables = _averaging(jax.eval_shape(model.init, jax.random.key(0), image))

    @jax.jit
    def influence(place):
        """Of each pixel on the map at (place, place) counted from its middle: [H, W] bool."""

        def value(image):
            stages = model.apply(variables, image)["stages"]
            if stage not in stages:
                raise ValueError(f"stage must be one of {', '.join(stages)}, got {stage!r}.")
            found = stages[stage]
            _check_map(found, stage)
            row, column = ((side - 1) // 2 for side in found.shape[1:3])
            return found[0, row + place, column + place].sum(), found.shape[1:3]

        def gradient(image):
            return jax.grad(value, has_aux=True)(image)

        (first, shape), (second, _) = gradient(image), gradient(image[:, ::-1, ::-1])
        return ((first != 0) | (second != 0)).any((0, 3)), shape

    (here, shape), (there, _) = influence(0), influence(1)
    return tuple(
        _field(np.asarray(here.any(1 - axis)), np.asarray(there.any(1 - axis)), int(shape[axis]))
        for axis in (0, 1)
    )


def _field(here, there, side):
    """From the pixels [H] that reach the middle of the map, and its neighbour."""
    first, last = np.flatnonzero(here)[[0, -1]]
    following = np.flatnonzero(there)[[0, -1]]
    if first == 0 or following[1] == len(here) - 1:
        raise ValueError(
            f"image_shape: the field reaches the border of {len(here)} pixels. Give a larger image;"
            " some layers (squeeze-and-excitation, attention) see all of any."
        )
    jump = int(following[0] - first)
    middle = (side - 1) // 2
    return ReceptiveField(
        size=int(last - first + 1), jump=jump, start=float((first + last + 1) / 2 - middle * jump)
    )


def _ramp(shape):
    """[1, H, W, C] rising to the bottom right, within 1..2."""
    _, height, width, _ = shape
    rise = (np.arange(height)[:, None] + np.arange(width)) / (height + width)
    return jnp.broadcast_to(jnp.asarray(1 + rise, jnp.float32)[None, :, :, None], shape)


def _averaging(variables):
    """Variables under which layers average: kernels 1 / fan-in, scales and variances 1, else 0."""

    def draw(path, leaf):
        if leaf.ndim > 1:
            return jnp.full(leaf.shape, 1 / np.prod(leaf.shape[:-1]), leaf.dtype)
        return jnp.full(leaf.shape, path[-1].key in ("scale", "var"), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, variables)


def _check_map(found, stage):
    if found.ndim != 4 or min(found.shape[1:3]) < 2:
        raise ValueError(
            f"stage {stage!r} must be a map of at least 2x2 pixels, got {list(found.shape)}."
            " Give a larger image, or a stage before."
        )
