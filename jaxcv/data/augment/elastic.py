"""Elastic deformation of an example: a smooth random displacement of every pixel."""

import jax
import jax.numpy as jnp

from jaxcv import ops
from jaxcv.data.augment import check
from jaxcv.data.augment.geometric import determinant, image_size, invert, move_points
from jaxcv.data.augment.remap import pixel_centres, warp

_ITERATIONS = 20  # of the inversion; the error shrinks by |gradient of the displacement| in each
_TOLERANCE = 1e-3  # pixels
_BOX_POINTS = 9  # along each side


def elastic_deformation(
    key,
    example,
    *,
    sigma=10.0,
    grid=3,
    matrix=None,
    output_size=None,
    padding_mode="reflect",
    **options,
):
    """Example bent by displacements drawn on a coarse grid and interpolated bicubically.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, C] float.
        sigma: standard deviation of the displacements' x and y, in pixels of the result.
        grid: displacements along each side; the outermost lie on the canvas's border.
        matrix: [3, 3] affine map that is applied first, in the same sampling; None is the identity.
        output_size: (height, width) of the result; None keeps the image's.
        padding_mode: as in `remap.remap`.
        options: `fill`, `min_visible` and `keypoint_pairs` of `remap.remap`.

    Returns:
        The example: image, masks and segments sampled at the displaced positions. Keypoints follow
        to 1e-3 pixels, boxes as the hull of 9 x 9 moved points. That inverts the displacement,
        which works everywhere up to a sigma of a tenth of the grid's spacing (the paper's 10
        pixels on 512: 0.04). Beyond, it begins to fold the plane (at 0.15 in one image of 20) and
        a point may have no one place: that keypoint gets visibility 0, that box is not valid.

    Source: Ronneberger, Fischer, Brox 2015, "U-Net", section 3.1: 3 x 3, 10 pixels. The paper does
    not name the bicubic kernel; this is Keys's (a = -1/2), its weights normalised at the border.
    """
    check.check_example(example)
    check.check_within("elastic_deformation's sigma", sigma, 0)
    check.check_within("elastic_deformation's grid", grid, 2)
    size = image_size(example) if output_size is None else output_size
    check.check_size("output_size", size)
    matrix = jnp.eye(3) if matrix is None else matrix
    vectors = sigma * jax.random.normal(key, (grid, grid, 2))

    centres = pixel_centres(size)
    bent = centres + ops.interpolate_displacement(vectors, centres, size)
    return warp(
        example,
        move_points(invert(matrix), bent),
        lambda points: _unbend(vectors, move_points(matrix, points), size),
        mirrored=determinant(matrix) < 0,
        padding_mode=padding_mode,
        box_points=_BOX_POINTS,
        **options,
    )


def _unbend(vectors, points, size):
    """Where the displacement takes the picture's points: p with p + displacement(p) = point."""

    def error(places):
        return places + ops.interpolate_displacement(vectors, places, size) - points

    places = jax.lax.fori_loop(0, _ITERATIONS, lambda _, places: places - error(places), points)
    found = (jnp.abs(error(places)) <= _TOLERANCE).all(-1, keepdims=True)
    return jnp.where(found, places, jnp.nan)
