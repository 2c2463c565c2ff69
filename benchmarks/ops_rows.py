"""The rows of `benchmarks.ops`: each is a kernel, its work, its goal, and its peer.

To add a row:
1. Write the peer in `peer_torch.py`: a function of the inputs, as torch tensors on the device, and
   of `options`. It prepares what is not to be timed (layouts, modules, shifted indices) and returns
   a function of no arguments, which is what is timed and whose answer is compared with ours. The
   answer is a tensor or a tuple of tensors in our layout: a permuted view costs nothing.
2. Add a `Row` to the list of your part below. `inputs` makes NumPy arrays from a generator, `ours`
   takes them as jax arrays, in order, and is jitted whole; the goal is the peer's time / ours.
3. Try it: `python -m benchmarks.ops --only=NAME --peer-python=PYTHON_WITH_TORCH`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jaxcv import ops


def largest_difference(ours, peer):
    """max|ours - peer| / max|peer|, the worst of all outputs."""
    ours = ours if isinstance(ours, tuple) else (ours,)
    return max(
        float(np.abs(np.asarray(a, np.float64) - b).max() / max(np.abs(b).max(), 1e-30))
        for a, b in zip(ours, peer, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; see the top of this file."""

    name: str  # --only selects by a part of it
    inputs: Callable  # numpy.random.Generator -> tuple of arrays
    ours: Callable  # (*inputs as jax arrays) -> array or tuple of arrays
    peer: str | None = None  # a function of peer_torch.py, None where there is nothing to compare
    options: Mapping | None = None  # keywords of the peer
    goal: float | None = None  # peer's time / ours
    goal_from_012: float | None = None  # where jax 0.12 and later have a goal of their own
    most_seconds: float | None = None  # of one call of ours
    most_temporaries: int | None = None  # bytes, by XLA's own account
    # (ours, tuple of the peer's) -> float, 0 is equal; None: their answers are not compared.
    difference: Callable | None = largest_difference


def _boxes(rng, count, extent, shortest, longest):
    """Random boxes [count, 4] with centres in a square and sides in a range, and scores [count]."""
    centre = rng.uniform(0, extent, (count, 2))
    half = rng.uniform(shortest, longest, (count, 2)) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes.astype(np.float32), rng.uniform(size=count).astype(np.float32)


# Suppression


def dense(count):
    return lambda rng: _boxes(rng, count, 800, 30, 300)


def sparse(count):
    return lambda rng: _boxes(rng, count, 4000, 10, 60)


def clustered(count):
    """Boxes of a detector: jittered copies of 60 objects."""

    def make(rng):
        objects, _ = _boxes(rng, 60, 800, 30, 300)
        boxes = objects[rng.integers(0, 60, count)] + rng.normal(0, 5, (count, 4))
        return boxes.astype(np.float32), rng.uniform(size=count).astype(np.float32)

    return make


def batch_of(images, make):
    """The inputs of several images, stacked."""
    return lambda rng: tuple(np.stack(a) for a in zip(*(make(rng) for _ in range(images))))


def kept_differently(ours, peer):
    """Share of the boxes kept by one side only, or in another place."""
    indices, valid = (np.asarray(a) for a in ours)
    got, want = indices[valid], np.concatenate([np.ravel(a) for a in peer])
    return float(len(got) != len(want) or (got != want).any())


def _nms_row(name, inputs, **fields):
    return Row(
        name=f"nms {name}",
        inputs=inputs,
        ours=lambda boxes, scores: ops.nms(boxes, scores, 0.5),
        peer="nms",
        options={"iou_threshold": 0.5},
        difference=kept_differently,
        **fields,
    )


SUPPRESSION = [
    _nms_row("dense 1,000", dense(1_000), goal=7),
    _nms_row("dense 4,000", dense(4_000), goal=10),
    _nms_row("dense 10,000", dense(10_000), goal=11),
    _nms_row("sparse 1,000", sparse(1_000), goal=2.5),
    _nms_row("sparse 4,000", sparse(4_000), goal=6, goal_from_012=11),
    _nms_row("sparse 10,000", sparse(10_000), goal=13, goal_from_012=25),
    _nms_row("clustered 1,000", clustered(1_000), goal=3.5),
    _nms_row("clustered 4,000", clustered(4_000), goal=4),
    _nms_row("clustered 10,000", clustered(10_000), goal=3.5),
    Row(
        name="nms 100,000 dense",
        inputs=dense(100_000),
        ours=lambda boxes, scores: ops.nms(boxes, scores, 0.5),
        most_seconds=0.25,
        most_temporaries=64 * 2**20,
    ),
    Row(
        name="nms 100,000 sparse",
        inputs=sparse(100_000),
        ours=lambda boxes, scores: ops.nms(boxes, scores, 0.5),
        most_seconds=0.25,
        most_temporaries=64 * 2**20,
    ),
    Row(
        name="nms 8 x 4,000, best 100",
        inputs=batch_of(8, dense(4_000)),
        ours=jax.vmap(lambda boxes, scores: ops.nms(boxes, scores, 0.5, max_outputs=100)),
        peer="nms_of_each",
        options={"iou_threshold": 0.5, "max_outputs": 100},
        goal=15,
        difference=kept_differently,
    ),
]

# Boxes

BOXES = [
    Row(
        name="box_iou 2,000 x 2,000",
        inputs=lambda rng: (dense(2_000)(rng)[0], dense(2_000)(rng)[0]),
        ours=ops.box_iou,
        peer="box_iou",
        goal=20,
    ),
]

# Regions


def regions_of(count, extent, shortest, longest):
    """Random boxes in a square map of 256 channels, cut to it."""

    def make(rng):
        features = rng.standard_normal((extent, extent, 256), np.float32)
        boxes, _ = _boxes(rng, count, extent, shortest, longest)
        return features, boxes.clip(0, extent)

    return make


def regions_of_a_pyramid(rng):
    """1,000 boxes of an image of 800 x 1024, sides from 16 to 600, on levels 2 to 5."""
    maps = [rng.standard_normal((800 // s, 1024 // s, 256), np.float32) for s in (4, 8, 16, 32)]
    centre = rng.uniform(0, [1024, 800], (1_000, 2))
    half = np.exp(rng.uniform(np.log(16), np.log(600), (1_000, 2))) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return *maps, boxes.clip(0, [1024, 800, 1024, 800]).astype(np.float32)


def with_gradient(function):
    """The output, and the gradient of its sum by all arguments but the last, the boxes."""

    def run(*arguments):
        *maps, boxes = arguments
        output, pullback = jax.vjp(lambda *maps: function(*maps, boxes), *maps)
        return output, *pullback(jax.numpy.ones_like(output))

    return run


def _roi_align_rows(name, inputs, ratio, goal, goal_with_gradient):
    def align(features, boxes):
        return ops.roi_align(features, boxes, 7, sampling_ratio=ratio)

    rows = [
        Row(
            name=f"roi_align {name}",
            inputs=inputs,
            ours=align,
            peer="roi_align",
            options={"sampling_ratio": ratio, "gradient": False},
            goal=goal,
        ),
        Row(
            name=f"roi_align {name}, with gradient",
            inputs=inputs,
            ours=with_gradient(align),
            peer="roi_align",
            options={"sampling_ratio": ratio, "gradient": True},
            goal=goal_with_gradient,
        ),
    ]
    return rows


def multiscale_roi_align(*arguments):
    *maps, boxes = arguments
    return ops.multiscale_roi_align(maps, boxes, 7, spatial_scales=(1 / 4, 1 / 8, 1 / 16, 1 / 32))


def masks_of_an_image(rng):
    """100 masks of 28 x 28 for boxes of an image of 800 x 1024, sides from 20 to 300."""
    centre = rng.uniform(0, [1024, 800], (100, 2))
    half = rng.uniform(20, 300, (100, 2)) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    masks = rng.random((100, 28, 28), np.float32)
    return masks, boxes.clip(0, [1024, 800, 1024, 800]).astype(np.float32)


def _fill_row(name, shape):
    """What it costs to write an output that large: no kernel with such an output is faster."""
    return Row(
        name=f"fill, as large as the output of {name}",
        inputs=lambda rng: (np.float32(rng.random()),),
        ours=lambda value: jax.numpy.full(shape, value),
    )


REGIONS = [
    *_roi_align_rows("512 on 50x50", regions_of(512, 50, 2, 25), 2, 10, 12),
    *_roi_align_rows("1,000 on 14x14", regions_of(1_000, 14, 1, 14), 2, 6, 12),
    *_roi_align_rows("512 on 200x200", regions_of(512, 200, 4, 100), 2, 10, 12),
    *_roi_align_rows("adaptive, 512 on 50x50", regions_of(512, 50, 2, 25), 0, 3.5, None),
    Row(
        name="multiscale_roi_align 1,000 over P2-P5",
        inputs=regions_of_a_pyramid,
        ours=multiscale_roi_align,
        peer="multiscale_roi_align",
        options={"image_size": (800, 1024), "gradient": False},
        goal=5,
    ),
    Row(
        name="multiscale_roi_align 1,000 over P2-P5, with gradient",
        inputs=regions_of_a_pyramid,
        ours=with_gradient(multiscale_roi_align),
        peer="multiscale_roi_align",
        options={"image_size": (800, 1024), "gradient": True},
        goal=5,
    ),
    Row(
        name="roi_align 2,000 on 100x128, with gradient",
        inputs=lambda rng: (
            rng.standard_normal((100, 128, 256), np.float32),
            _boxes(rng, 2_000, 100, 2, 50)[0],
        ),
        ours=with_gradient(lambda f, boxes: ops.roi_align(f, boxes, 7, sampling_ratio=2)),
        most_temporaries=2**30,
    ),
    Row(
        name="paste_masks 100 into 800x1024",
        inputs=masks_of_an_image,
        ours=lambda masks, boxes: ops.paste_masks(masks, boxes, (800, 1024)),
        peer="paste_masks",
        options={"image_size": (800, 1024)},
        goal=3,
    ),
    _fill_row("paste_masks", (100, 800, 1024)),
]

# Sampling


def normal(*shapes):
    """Arrays of normal numbers of these shapes."""
    return lambda rng: tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def image_and_grid(rng):
    """A batch of images, a jittered identity grid, and the result's cotangent."""
    image, jitter, cotangent = normal((8, 128, 128, 64), (8, 128, 128, 2), (8, 128, 128, 64))(rng)
    line = np.linspace(-1, 1, 128, dtype=np.float32)
    return image, np.stack(np.meshgrid(line, line), axis=-1) + 0.1 * jitter, cotangent


def deformable(rng):
    """Image, offset, kernel, mask and the result's cotangent, of a 3x3 deformable convolution."""
    image, offset, kernel, mask, cotangent = normal(
        (32, 32, 256), (32, 32, 18), (3, 3, 256, 256), (32, 32, 9), (32, 32, 256)
    )(rng)
    return image, offset, kernel / 48, 1 / (1 + np.exp(-mask)), cotangent


def mask_with_holes(rng):
    """512 x 512, the largest distance some 40 pixels."""
    mask = np.ones((512, 512), bool)
    mask[tuple(rng.integers(0, 512, (2, 600)))] = False
    return (mask,)


def gradients(function, count):
    """Of the first `count` arguments, given the result's cotangent as the last."""

    def run(*arrays):
        inputs, cotangent = arrays[:count], arrays[-1]
        return jax.vjp(lambda *moving: function(*moving, *arrays[count:-1]), *inputs)[1](cotangent)

    return run


def pool_and_unpool(image):
    maxima, places = ops.max_pool_with_argmax(image, window=2)
    return ops.max_unpool(maxima, places, output_size=image.shape[1:3], window=2)


_grid_sample = jax.vmap(ops.grid_sample)
_deform = functools.partial(ops.deform_conv2d, padding=1)


def _resize_row(mode, goal):
    return Row(
        name=f"resize {mode} 64 -> 256",
        inputs=normal((4, 64, 64, 64)),
        ours=jax.vmap(lambda image: ops.resize(image, 256, mode=mode)),
        peer="interpolate",
        options={"size": 256, "mode": mode},
        goal=goal,
    )


SAMPLING = [
    Row(
        name="grid_sample bilinear",
        inputs=lambda rng: image_and_grid(rng)[:2],
        ours=_grid_sample,
        peer="grid_sample",
        goal=1.3,
    ),
    Row(
        name="grid_sample bilinear, both gradients",
        inputs=image_and_grid,
        ours=gradients(_grid_sample, 2),
        peer="grid_sample",
        goal=1.1,
    ),
    _resize_row("bilinear", 1.7),
    _resize_row("bicubic", 3.5),
    _fill_row("resize", (4, 256, 256, 64)),
    Row(
        name="deform_conv2d",
        inputs=lambda rng: deformable(rng)[:4],
        ours=_deform,
        peer="deform_conv2d",
        goal=2,
    ),
    Row(
        name="deform_conv2d, all gradients",
        inputs=deformable,
        ours=gradients(_deform, 4),
        peer="deform_conv2d",
        goal=8,
    ),
    Row(
        name="max_pool_with_argmax",
        inputs=normal((4, 112, 112, 64)),
        ours=lambda image: ops.max_pool_with_argmax(image, window=2),
        peer="max_pool_with_argmax",
        goal=20,
    ),
    Row(
        name="max_pool_with_argmax and unpool",
        inputs=normal((4, 112, 112, 64)),
        ours=pool_and_unpool,
        peer="max_pool_with_argmax",
        options={"unpool": True},
        goal=20,
    ),
    Row(
        name="distance_transform 512 x 512",
        inputs=mask_with_holes,
        ours=ops.distance_transform,
        peer="distance_transform",
        goal=1,
    ),
]

ROWS = [*SUPPRESSION, *BOXES, *REGIONS, *SAMPLING]
