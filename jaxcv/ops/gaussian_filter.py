"""Gaussian filters over features of any kind: positions, colours, depth, embeddings.

The kernel between features i and j is K[i, j] = exp(-|f_i - f_j|^2 / 2), so a bandwidth divides its
features, and K[i, i] = 1. There are two of them, and they are different filters:

    `exact_kernel`    K itself, O(N^2) in time, and the truth to compare with. On a CPU as fast as a
                      lattice up to some 300 features (images of 16 x 16), 40 times slower at 4,096
                      (64 x 64), where it is still the choice for those who want K.
    `lattice_kernel`  the permutohedral lattice, O(N): the one that dense CRFs are run with in
                      practice, and the one to reproduce pydensecrf's results. It is no close
                      approximation: its row sums are 0.4 to 0.9 of K's (which normalisation mends),
                      its support is finite, and after some steps of mean field single marginals
                      differ by anything, though few of the labels do.

`normalization` makes A of K, with r = K 1 the filter's own row sums: "none" A = K, "before"
A = K diag(1 / r), "after" A = diag(1 / r) K, "symmetric" A = diag(r^-1/2) K diag(r^-1/2).

Values are differentiable; features and so images are not: their gradient is 0.
"""

import dataclasses
import difflib
import functools
import math
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops import fusion, lattice_values
from jaxcv.ops import lattice as lattices

NORMALIZATIONS = ("none", "before", "after", "symmetric")

_BLOCK = 2**20  # entries of K that are in memory at a time


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ExactKernel:
    """K, of which only the features are kept. Of `exact_kernel`."""

    features: jax.Array  # [N, D] float32
    before: jax.Array  # [N], what values are multiplied by before they are filtered
    after: jax.Array  # [N], and after
    self_term: bool = dataclasses.field(metadata={"static": True})

    @property
    def count(self):
        """N, the number of features."""
        return len(self.features)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LatticeKernel:
    """The lattice of some features. Of `lattice_kernel`."""

    lattice: lattices.Lattice
    before: lattices.Weights  # with the normalisation's factors
    after: lattices.Weights

    @property
    def count(self):
        """N, the number of features."""
        return len(self.lattice.corners)

    @property
    def points(self):
        """How many lattice points there are: [] int32. More than `max_points` is an overflow."""
        return self.lattice.points

    @property
    def max_points(self):
        """How many there is room for."""
        return self.lattice.max_points


def position_features(size, *, sigma):
    """Features of a Gaussian over positions: [H, W, 2] float32, x / sigma and y / sigma.

    Args:
        size: height and width in pixels.
        sigma: bandwidth in pixels, or a pair for x and y.

    Raises:
        ValueError: a bandwidth that is not above 0, or not one or two of them.
    """
    height, width = size
    sigma = _bandwidths(sigma, 2, "sigma")
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return jnp.asarray(np.stack([x / sigma[0], y / sigma[1]], axis=-1))


def bilateral_features(image, *, sigma, sigma_color):
    """Features of a Gaussian over positions and colours: [H, W, C] -> [H, W, 2 + C] float32.

    Args:
        image: [H, W, C], any real dtype and any number of channels.
        sigma: bandwidth in pixels, or a pair for x and y.
        sigma_color: bandwidth in the unit of the image's values, or one for each channel. The
            literature's are for values up to 255.

    Raises:
        ValueError: an image that is not [H, W, C], a bandwidth that is not above 0.
    """
    image = jnp.asarray(image)
    if image.ndim != 3:
        raise ValueError(
            f"image must be [H, W, C], got {list(image.shape)}. For a batch, jax.vmap the function."
        )
    sigma_color = _bandwidths(sigma_color, image.shape[2], "sigma_color")
    colors = _divided(image.astype(jnp.float32), sigma_color)
    positions = position_features(image.shape[:2], sigma=sigma)
    # A sum: `vmap` cannot concatenate what is one for all images with what lies on many devices.
    return jnp.pad(positions, ((0, 0), (0, 0), (0, image.shape[2]))) + jnp.pad(
        colors, ((0, 0), (0, 0), (2, 0))
    )


def exact_kernel(features, *, normalization="none", self_term=True):
    """The kernel K of some features, exactly.

    Args:
        features: [..., D] float, each divided by its bandwidth.
        normalization: "none", "before", "after" or "symmetric"; see the head of this file.
        self_term: whether K[i, i] is 1, or else 0: each feature is left out of its own sum.

    Returns:
        ExactKernel, for `gaussian_filter`, `mean_field` and `dense_crf`.

    Raises:
        ValueError: features without a last axis or not float, an unknown normalisation.

    Cost: filtering L values takes O(N^2 (D + L)) time and 4 MB.
    """
    _check_normalization(normalization)
    features = flat(features, "features").astype(jnp.float32)
    ones = jnp.ones(len(features), jnp.float32)
    kernel = ExactKernel(features, ones, ones, self_term)
    sums = _collect(kernel, ones[:, None])[:, 0]
    before, after = _factors(sums, normalization)
    return dataclasses.replace(kernel, before=before, after=after)


def lattice_kernel(features, *, normalization="none", max_points=None):
    """The permutohedral lattice of some features.

    The number of lattice points depends on the features' values, the size of arrays must not:

        kernel = lattice_kernel(features)                   # outside jit: sizes first, then builds
        kernel = lattice_kernel(features, max_points=8192)  # anywhere: room for so many

    The first form leaves room up to the next of a few sizes, four to an octave, so that a stream of
    images compiles a handful of times. In the second, where there are more points than room, all
    that is filtered becomes nan; `kernel.points` says how many there are.

    Args:
        features: [..., D] float, each divided by its bandwidth. float32 tells lattice points apart
            up to lengths of 2^20 / (D + 1): where one is longer, or nan, all that is filtered
            becomes nan. Too small a bandwidth does that.
        normalization: "none", "before", "after" or "symmetric"; see the head of this file.
        max_points: static. None: counted.

    Returns:
        LatticeKernel, for `gaussian_filter`, `mean_field` and `dense_crf`. Building it costs about
        as much as some steps of mean field: build it once for an image.

    Raises:
        ValueError: features without a last axis or not float, an unknown normalisation, no
            `max_points` where features are traced.

    Source: Adams, Baek, Davis 2010, as in pydensecrf, padding of N to a multiple of four with
        features 0 included. Built outside jit, all features lie in the simplices that pydensecrf
        puts them in; inside, some that lie between two may not, where compiled code contracts
        multiplication and addition.
    """
    _check_normalization(normalization)
    if max_points is not None and (not isinstance(max_points, numbers.Integral) or max_points < 1):
        raise ValueError(f"max_points must be an int above 0 or None, got {max_points!r}.")
    features = flat(features, "features").astype(jnp.float32)
    lattice, weights = lattices.build_lattice(features, max_points=max_points)
    return _normalized(lattice, weights, normalization=normalization)


def gaussian_filter(values, kernel):
    """A values, A the kernel normalised: sum over j of A[i, j] values[j].

    Args:
        values: [..., L] float, as many as the kernel has features.
        kernel: of `exact_kernel` or `lattice_kernel`.

    Returns:
        As `values`. What is narrower than float32 is computed in float32. Differentiable in
        `values`, by the transpose of the filter.

    Raises:
        ValueError: another number of values than of features.
    """
    values = jnp.asarray(values)
    rows = flat(values, "values")
    check_count(rows, kernel, "values")
    return _filtered(kernel, rows).reshape(values.shape).astype(values.dtype)


@jax.jit
def _divided(image, sigmas):
    # A divisor for each value: XLA multiplies by the inverse of one that is broadcast.
    divisors = fusion.apart(lambda image: jnp.broadcast_to(sigmas, image.shape), image)
    return image / divisors


@jax.jit
def _filtered(kernel, values):
    return distribute((kernel,), (collect(kernel, values),), jnp.zeros_like(values))


# A filter is two linear maps, so that labels can be mixed in between, where a lattice has few rows.


@jax.custom_vjp
def collect(kernel, values):
    """The first half of the filter: [N, L] -> [points, L]."""
    return _collect(kernel, values)


@jax.custom_vjp
def distribute(kernels, collected, base):
    """base + the sum of the second halves: ([points, L], ...) and [N, L] -> [N, L]."""
    return _distribute(kernels, collected, base)


def check_count(rows, kernel, name):
    """Raises ValueError unless there are as many rows as the kernel has features."""
    if len(rows) != kernel.count:
        raise ValueError(
            f"{name} must be as many as the kernel's features, got {len(rows)} for {kernel.count}:"
            " they belong to images of different sizes?"
        )


def _collect(kernel, values):
    if isinstance(kernel, LatticeKernel):
        points = lattice_values.splat(kernel.lattice, kernel.before, values)
        return lattice_values.blur(kernel.lattice, points)
    return _product(kernel, values * kernel.before[:, None])


def _collect_transposed(kernel, points):
    if isinstance(kernel, LatticeKernel):
        points = lattice_values.blur(kernel.lattice, points, reverse=True)
        slice_points = functools.partial(lattice_values.slice_points, kernel.lattice, kernel.before)
        return fusion.apart(slice_points, points)
    return _product(kernel, points) * kernel.before[:, None]


def _distribute(kernels, collected, base):
    def total(base, *collected):
        for kernel, points in zip(kernels, collected):
            if isinstance(kernel, LatticeKernel):
                base = base + lattice_values.slice_points(kernel.lattice, kernel.after, points)
            else:
                base = base + points * kernel.after[:, None]
        return base

    return fusion.apart(total, base, *collected)


def _distribute_transposed(kernel, values):
    if isinstance(kernel, LatticeKernel):
        return lattice_values.splat(kernel.lattice, kernel.after, values)
    return values * kernel.after[:, None]


collect.defvjp(
    lambda kernel, values: (_collect(kernel, values), kernel),
    lambda kernel, gradient: (None, _collect_transposed(kernel, gradient)),
)
distribute.defvjp(
    lambda kernels, collected, base: (_distribute(kernels, collected, base), kernels),
    lambda kernels, gradient: (
        None,
        tuple(_distribute_transposed(kernel, gradient) for kernel in kernels),
        gradient,
    ),
)


@jax.jit
def _product(kernel, values):
    """K values, a block of rows of K at a time. K is its own transpose."""
    features = kernel.features
    count = len(features)
    rows = min(count, max(1, _BLOCK // count))
    columns = jnp.unstack(features, axis=1)

    def block(numbered):
        number, part = numbered
        squares = sum(
            jnp.square(part[:, i, None] - column[None]) for i, column in enumerate(columns)
        )
        weights = jnp.exp(-squares / 2)
        if not kernel.self_term:
            # Left out, not taken away again: beside 1 the rest may be too small for float32.
            row = number * rows + jnp.arange(rows)
            weights = jnp.where(row[:, None] == jnp.arange(count)[None], 0, weights)
        return jnp.matmul(weights, values, precision="highest")

    padded = jnp.pad(features, ((0, -count % rows), (0, 0)))
    parts = padded.reshape(-1, rows, features.shape[1])
    filtered = jax.lax.map(block, (jnp.arange(len(parts)), parts))
    return filtered.reshape(-1, values.shape[1])[:count]


@functools.partial(jax.jit, static_argnames="normalization")
def _normalized(lattice, weights, *, normalization):
    ones = jnp.ones((len(lattice.corners), 1), jnp.float32)
    sums = lattice_values.blur(lattice, lattice_values.splat(lattice, weights, ones))
    sums = lattice_values.slice_points(lattice, weights, sums)[:, 0]
    scale = 1 / (1 + 2.0 ** (1 - lattice.corners.shape[1]))  # so that a constant nearly stays
    before, after = _factors(sums * scale, normalization)
    void = jnp.where(lattice.points > lattice.max_points, jnp.nan, 1)
    return LatticeKernel(
        lattice,
        before=lattices.scaled(lattice, weights, before * void),
        after=lattices.scaled(lattice, weights, after * void * scale),
    )


def _factors(sums, normalization):
    """What values are multiplied by before and after filtering."""
    sums = sums + 1e-20  # pydensecrf's
    ones = jnp.ones_like(sums)
    root = 1 / jnp.sqrt(sums)
    return {
        "none": (ones, ones),
        "before": (1 / sums, ones),
        "after": (ones, 1 / sums),
        "symmetric": (root, root),
    }[normalization]


def flat(array, name):
    """[..., K] -> [N, K], float32 at least."""
    array = jnp.asarray(array)
    if array.ndim < 2 or not array.size or not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"{name} must be [..., K] float with at least two axes and none of them 0, got"
            f" {list(array.shape)} {array.dtype}."
        )
    return array.reshape(-1, array.shape[-1]).astype(jnp.promote_types(array.dtype, jnp.float32))


def _bandwidths(value, count, name):
    """[count] float32."""
    values = np.asarray(value, np.float32)
    if values.shape not in ((), (count,)) or not ((values > 0) & (values < math.inf)).all():
        raise ValueError(f"{name} must be a number above 0 or {count} of them, got {value!r}.")
    return np.broadcast_to(values, (count,))


def _check_normalization(normalization):
    if normalization not in NORMALIZATIONS:
        near = difflib.get_close_matches(str(normalization), NORMALIZATIONS)
        raise ValueError(
            f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}"
            + (f": {near[0]!r}?" if near else ".")
        )
