"""Sampling an image at given positions: spatial transformers, warping, elastic deformation.

Grids are torch's: x first, -1 and 1 at the image's borders. Positions of pixels are x, y with the
first pixel's centre at 0, except where a docstring says otherwise.
"""

import difflib

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops import sliding, taps
from jaxcv.ops.program import one_program

_MODES = ("nearest", "bilinear", "bicubic")
_PADDING_MODES = ("zeros", "border", "reflection")


@one_program("size", "align_corners")
def affine_grid(theta, size, *, align_corners=False):
    """Sampling grid of an affine map: [2, 3] -> [H, W, 2], x and y in [-1, 1].

    The map goes from the result to the image: theta's [[0.5, 0, 0], [0, 0.5, 0]] enlarges the
    middle of the image by 2.

    Args:
        theta: [2, 3] float, applied to (x, y, 1).
        size: (H, W) of the result.
        align_corners: as of `grid_sample`, which must be told the same.

    Raises:
        ValueError: a theta or a size of another form.

    Source: torch.nn.functional.affine_grid. Jaderberg et al. 2015, "Spatial transformer networks".
    """
    theta = jnp.asarray(theta)
    if theta.shape != (2, 3):
        raise ValueError(
            f"theta must be [2, 3], got {list(theta.shape)}. For a batch, jax.vmap the function."
        )
    _check_floating(theta=theta)
    size = sliding.at_least(sliding.per_axis(size, 2, "size"), 1, "size")
    y, x = (jnp.asarray(_centres(n, align_corners), theta.dtype) for n in size)
    x, y = x[None, :, None], y[:, None, None]
    along_x, along_y, shift = (theta[None, None, :, i] for i in range(3))
    return along_x * x + along_y * y + shift


@one_program("mode", "padding_mode", "align_corners")
def grid_sample(image, grid, *, mode="bilinear", padding_mode="zeros", align_corners=False):
    """Image sampled at the positions of a grid: [H, W, C] and [..., 2] -> [..., C].

    Args:
        image: [H, W, C] float.
        grid: [..., 2] float, often [H', W', 2]: x and y, -1 at the left and upper border of the
            image and 1 at the others. Nan lies far outside, left and above.
        mode: "bilinear", "bicubic" (a = -0.75) or "nearest" (halves go to the even pixel; the
            gradient for the grid is 0).
        padding_mode: what lies outside: "zeros", "border" (its pixels, continued) or "reflection".
        align_corners: -1 and 1 are the centres of the border pixels, not their outer edges;
            reflection is about these places too.

    Returns:
        [..., C] in the image's dtype, computed in float32 at least. Reverse mode alone (no jvp).

    Raises:
        ValueError: an image or a grid of another form, or a mode that is not one of these.

    Source: torch.nn.functional.grid_sample, with its gradients.
    """
    image, grid = jnp.asarray(image), jnp.asarray(grid)
    _check_image(image)
    _check_last_axis("grid", grid, "x and y in [-1, 1]")
    grid = grid.astype(jnp.promote_types(grid.dtype, jnp.float32))
    sizes = image.shape[1], image.shape[0]
    x, y = (
        (grid[..., i] + 1) * ((n - 1) / 2) if align_corners else ((grid[..., i] + 1) * n - 1) / 2
        for i, n in enumerate(sizes)
    )
    return _sample(image, x, y, mode, padding_mode, align_corners)


@one_program("mode", "padding_mode")
def warp_flow(image, flow, *, mode="bilinear", padding_mode="zeros"):
    """Image seen through a flow: [H, W, C] and [H', W', 2] -> [H', W', C].

    The result's pixel (x, y) is the image at (x, y) + flow[y, x]: warping the second frame by the
    flow from the first to the second gives the first again.

    Args:
        image: [H, W, C] float.
        flow: [H', W', 2] float, x and y in pixels.
        mode, padding_mode: as of `grid_sample`; reflection is about the border pixels' centres.

    Returns:
        [H', W', C] as of `grid_sample`. Reverse mode alone (no jvp).

    Raises:
        ValueError: arrays or modes of another form.
    """
    image, flow = jnp.asarray(image), jnp.asarray(flow)
    _check_image(image)
    _check_last_axis("flow", flow, "x and y in pixels")
    if flow.ndim != 3:
        raise ValueError(f"flow must be [H, W, 2], got {list(flow.shape)}.")
    flow = flow.astype(jnp.promote_types(flow.dtype, jnp.float32))
    y, x = jnp.indices(flow.shape[:2], dtype=flow.dtype)
    return _sample(image, x + flow[..., 0], y + flow[..., 1], mode, padding_mode, True)


@one_program("mode", "padding_mode")
def warp_disparity(image, disparity, *, mode="bilinear", padding_mode="zeros"):
    """Image of one camera of a stereo pair from the other's: [H, W, C], [H', W'] -> [H', W', C].

    The result's pixel (x, y) is the image at (x - disparity[y, x], y): the right image warped by
    the left one's disparities gives the left one. For the other direction negate them.

    Args:
        image: [H, W, C] float.
        disparity: [H', W'] float, in pixels, positive for what lies before infinity.
        mode, padding_mode: as of `warp_flow`.

    Returns:
        [H', W', C] as of `grid_sample`. Reverse mode alone (no jvp).

    Raises:
        ValueError: arrays or modes of another form.
    """
    disparity = jnp.asarray(disparity)
    if disparity.ndim != 2:
        raise ValueError(f"disparity must be [H, W], got {list(disparity.shape)}.")
    _check_floating(disparity=disparity)
    flow = jnp.stack([-disparity, jnp.zeros_like(disparity)], axis=-1)
    return warp_flow(image, flow, mode=mode, padding_mode=padding_mode)


@one_program("size", "grid")
def displacement_field(key, size, *, sigma=10.0, grid=3):
    """Smooth random displacement of every pixel: (H, W) -> [H, W, 2], x and y in pixels.

    Displacements drawn on a coarse grid, interpolated bicubically: `warp_flow` bends an image by
    them.

    Args:
        key: typed PRNG key.
        size: (H, W).
        sigma: standard deviation of x and y at the grid's points, in pixels.
        grid: points along each side, at least 2; the outermost lie on the image's border.

    Raises:
        ValueError: a size or a grid out of range.

    Source: Ronneberger, Fischer, Brox 2015, "U-Net", section 3.1 (3 x 3 points, 10 pixels).
    """
    size = sliding.at_least(sliding.per_axis(size, 2, "size"), 1, "size")
    (grid,) = sliding.at_least(sliding.per_axis(grid, 1, "grid"), 2, "grid")
    vectors = sigma * jax.random.normal(key, (grid, grid, 2))
    y, x = jnp.indices(size, dtype=vectors.dtype)
    return interpolate_displacement(vectors, jnp.stack([x, y], axis=-1) + 0.5, size)


@one_program("size")
def interpolate_displacement(vectors, points, size):
    """Displacement at points between those of a coarse grid: [G, G, 2], [..., 2] -> [..., 2].

    Args:
        vectors: [G, G, 2] float, G at least 2; the outermost stand on the canvas's border.
        points: [..., 2] float, x and y with the canvas's upper left corner at 0. Outside the canvas
            the displacement of its border goes on.
        size: (H, W) of the canvas.

    Raises:
        ValueError: arrays or a size of another form.

    Source: cubic convolution (Keys 1981, a = -1/2), its weights normalised at the border.
    """
    vectors, points = jnp.asarray(vectors), jnp.asarray(points)
    if vectors.ndim != 3 or vectors.shape != (len(vectors), len(vectors), 2) or len(vectors) < 2:
        raise ValueError(
            f"vectors must be [G, G, 2], G at least 2, got {list(vectors.shape)}. For a batch,"
            " jax.vmap the function."
        )
    _check_floating(vectors=vectors)
    _check_last_axis("points", points, "x and y in pixels")
    size = sliding.at_least(sliding.per_axis(size, 2, "size"), 1, "size")
    last = vectors.shape[0] - 1
    ones = (1,) * (points.ndim - 1)
    canvas = jnp.array([size[1], size[0]], jnp.float32).reshape(*ones, 2)
    place = jnp.clip(points / canvas, 0, 1) * last  # in units of the grid's spacing
    nodes = jnp.arange(last + 1).reshape(*ones, 1, -1)
    weights = _keys_kernel(place[..., None] - nodes)  # [..., 2, G]
    weights /= weights.sum(-1, keepdims=True)
    x, y = weights[..., 0, :], weights[..., 1, :]
    return jnp.einsum("...i,...j,ijd->...d", y, x, vectors, precision="highest")


def _sample(image, x, y, mode, padding_mode, align_corners):
    """Image at pixels x and y, of any one shape [...]: -> [..., C]."""
    for name, value, known in (
        ("mode", mode, _MODES),
        ("padding_mode", padding_mode, _PADDING_MODES),
    ):
        if value not in known:
            near = difflib.get_close_matches(str(value), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name} must be one of {list(known)}, got {value!r}.{hint}")
    height, width, channels = image.shape
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    rows = taps.axis_taps(y.reshape(-1), height, **options)
    columns = taps.axis_taps(x.reshape(-1), width, **options)
    indices, weights = taps.cross(rows, columns, width)
    weights = weights.astype(jnp.promote_types(image.dtype, jnp.float32))
    sampled = taps.weighted_rows(jax.lax.collapse(image, 0, 2), indices, weights)
    return sampled.reshape(*x.shape, channels).astype(image.dtype)


def _centres(size, align_corners):
    """Where the centres of `size` pixels lie between -1 and 1."""
    places = np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
    return places if align_corners else places * (size - 1) / size


def _keys_kernel(distance):
    """Cubic convolution. Keys 1981, "Cubic convolution interpolation for digital images"."""
    x = jnp.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return jnp.where(x < 1, near, jnp.where(x < 2, far, 0))


def _check_image(image):
    if image.ndim != 3 or min(image.shape[:2]) < 1:
        raise ValueError(
            f"image must be [H, W, C] with pixels, got {list(image.shape)}. For a batch, jax.vmap"
            " the function."
        )
    _check_floating(image=image)


def _check_last_axis(name, array, meaning):
    if array.ndim < 1 or array.shape[-1] != 2:
        raise ValueError(f"{name} must be [..., 2] ({meaning}), got {list(array.shape)}.")
    _check_floating(**{name: array})


def _check_floating(**arrays):
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} must be floating, got {array.dtype}. Convert with .astype.")
