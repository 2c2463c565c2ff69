import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import ops
from jaxcv.ops import bins

# What costs here is compiling.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def slow_roi_align(image, box, size, ratio, aligned):
    """The definition, sample by sample, in float64."""

    def value(y, x):
        if not (-1 <= y <= image.shape[0] and -1 <= x <= image.shape[1]):
            return np.zeros(image.shape[-1])
        y, x = np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)
        i, j = int(y), int(x)
        i1, j1 = min(i + 1, image.shape[0] - 1), min(j + 1, image.shape[1] - 1)
        top = image[i, j] * (1 - x + j) + image[i, j1] * (x - j)
        bottom = image[i1, j] * (1 - x + j) + image[i1, j1] * (x - j)
        return top * (1 - y + i) + bottom * (y - i)

    x1, y1, x2, y2 = box - 0.5 if aligned else box
    height, width = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
    bin_height, bin_width = height / size[0], width / size[1]
    rows = ratio if ratio > 0 else math.ceil(bin_height)
    columns = ratio if ratio > 0 else math.ceil(bin_width)
    output = np.zeros((*size, image.shape[-1]))
    for p in range(size[0]):
        for q in range(size[1]):
            for i in range(rows):
                for j in range(columns):
                    y = y1 + (p + (i + 0.5) / rows) * bin_height
                    x = x1 + (q + (j + 0.5) / columns) * bin_width
                    output[p, q] += value(y, x) / (rows * columns)
    return output


COORDINATE = st.floats(-20, 30, width=32).map(lambda x: round(x, 2) + 0.003)
ALIGN = {
    ratio: quick_jit(
        functools.partial(ops.roi_align, output_size=(2, 3), sampling_ratio=ratio, aligned=True)
    )
    for ratio in (-1, 2)
}


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[COORDINATE] * 4), min_size=4, max_size=4))
def test_roi_align_is_its_definition(boxes):
    image = np.random.default_rng(0).normal(size=(8, 11, 2))
    boxes = np.array(boxes)
    for ratio, align in ALIGN.items():
        got = align(image.astype(np.float32), boxes.astype(np.float32))
        want = [slow_roi_align(image, box, (2, 3), ratio, aligned=True) for box in boxes]
        np.testing.assert_allclose(got, want, atol=2e-5)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[st.floats(1, 6, width=32)] * 4), min_size=4, max_size=4))
def test_roi_align_of_an_affine_function_is_its_value_at_the_centre(boxes):
    boxes = np.sort(np.reshape(boxes, (4, 2, 2)), axis=1).reshape(4, 4)
    y, x = np.mgrid[0:8, 0:11]
    image = np.stack([y, 2 * x - 3 * y + 1], axis=-1)
    centre = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) * 0.5 - 0.5
    size = boxes[:, 2:] - boxes[:, :2]
    at_y = centre[:, 1, None] + (np.arange(2) - 0.5) / 2 * size[:, 1, None]
    at_x = centre[:, 0, None] + (np.arange(3) - 1) / 3 * size[:, 0, None]
    at_y, at_x = np.broadcast_arrays(at_y[:, :, None], at_x[:, None])
    want = np.stack([at_y, 2 * at_x - 3 * at_y + 1], axis=-1)
    got = ALIGN[2](image.astype(np.float32), boxes.astype(np.float32))
    np.testing.assert_allclose(got, want, atol=2e-5)


BOXES = np.float32(
    [[1, 1, 4, 5], [-3, 2, 30, 9], [2, 2, 2, 2], [7, 6, 3, 1], [-40, -40, -30, -30], [0, 0, 11, 8]]
)


@pytest.mark.parametrize("ratio", [0, 2])
def test_the_form_for_a_gpu_agrees_with_that_for_a_cpu(ratio):
    random = np.random.default_rng(1)
    maps = tuple(jnp.float32(random.normal(size=(s, s + 3, 2))) for s in (8, 4))
    starts, extents = jnp.float32(BOXES[:, 1::-1]), jnp.float32(BOXES[:, 2:] - BOXES[:, :2])
    level = jnp.array([0, 1, 0, 0, 0, 1]) if ratio else jnp.zeros(6, jnp.int32)
    maps = maps[: 1 + level.max()]
    sizes = jnp.float32([[8, 11], [4, 7]])[level]
    samples = jnp.full((6,), 2.0) if ratio else jnp.ceil(jnp.abs(extents).max(1) / 2)
    rows, columns = (
        bins.regular_axis(starts[:, i], extents[:, i], 2, samples, sizes[:, i, None])
        for i in range(2)
    )
    valid = jnp.arange(6) != 2
    plan = bins.Bins(rows, columns, level, valid, jnp.zeros(4, jnp.int32))
    most = 4 if ratio else None
    by_box = quick_jit(functools.partial(bins._means_by_box, most=most))(maps, plan)
    np.testing.assert_allclose(bins._means_at_once(maps, plan), by_box, atol=1e-6)
    g = jnp.float32(random.normal(size=by_box.shape))
    by_box = quick_jit(functools.partial(bins._gradients_by_box, most=most))(maps, plan, g)
    for got, want in zip(bins._gradients_at_once(maps, plan, g), by_box):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_an_exact_number_of_pixels_takes_as_many_samples():
    # 14 pixels in 7 bins are 2 each, though 14 * float32(1 / 7) is more than 2.
    image = jnp.arange(16.0)[None, :, None] ** 2
    got = jax.jit(lambda b: ops.roi_align(image, b, (1, 7), aligned=True))(
        jnp.array([[0.5, 0, 14.5, 1]])
    )
    # Samples at 0.5 + 2q and 1.5 + 2q, where the interpolated square is 1/4 more than the square.
    q = 2 * np.arange(7)
    want = ((0.5 + q) ** 2 + (1.5 + q) ** 2) / 2 + 0.25
    np.testing.assert_allclose(got.ravel(), want, rtol=1e-6)
