"""The fully connected CRF of an image, by mean field.

Krähenbühl, Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials",
2011. Conventions are pydensecrf's. With unary energies U [N, L], kernels A_k [N, N] (normalised,
self term included) and mixings M_k [L, L]:

    Q <- softmax(-U),  then so many times:  Q <- softmax(-U - sum over k of A_k Q M_k^T)

all pixels at once. Energies enter with a plus: what smooths is negative.

    marginals = dense_crf(unary, image, [Gaussian(3, 3.0), Bilateral(80, 13, 10.0)])

    # A stream of images: terms are built outside jit, which sizes their lattices; the rest
    # is compiled once for each of a few sizes.
    run = jax.jit(dense_crf)
    for unary, image in stream:
        marginals = run(unary, None, build_terms(image, [Gaussian(3, 3.0), ...]))

    # All under jit, grad or vmap, with room for so many lattice points in each term.
    jax.vmap(lambda u, i: dense_crf(u, i, terms, max_points=(4096, 8192)))(unaries, images)
"""

import dataclasses
import functools
import numbers
from typing import Any

import jax
import jax.numpy as jnp

from jaxcv.ops import fusion
from jaxcv.ops import gaussian_filter as filters

_STATIC = {"static": True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A term over positions: pixels near each other have the same label."""

    sigma: Any = dataclasses.field(metadata=_STATIC)  # in pixels, or a pair for x and y
    compatibility: Any  # as of `Pairwise`
    # As of `exact_kernel`.
    normalization: str = dataclasses.field(default="symmetric", kw_only=True, metadata=_STATIC)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bilateral:
    """A term over positions and colours: near pixels of like colour have the same label."""

    sigma: Any = dataclasses.field(metadata=_STATIC)  # in pixels, or a pair for x and y
    sigma_color: Any = dataclasses.field(metadata=_STATIC)  # in the image's unit, or one a channel
    compatibility: Any
    normalization: str = dataclasses.field(default="symmetric", kw_only=True, metadata=_STATIC)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairwise:
    """A term over any features, whose kernel is built: of `exact_kernel` or `lattice_kernel`.

    compatibility: a number w, Potts: labels that differ cost w (M = -w I, which costs equal labels
        -w); [L], per class: M is its diagonal, so that smoothing needs negative numbers; [L, L]:
        M is its symmetric part. Differentiable.
    """

    kernel: Any
    compatibility: Any


def build_terms(image, terms, *, filter="lattice", max_points=None):
    """Terms with their kernels built: a tuple of `Pairwise`.

    Args:
        image: [H, W, C], any real dtype, or None if all terms are `Pairwise`.
        terms: any number of `Gaussian`, `Bilateral` and `Pairwise`; the last stay as they are.
        filter: "lattice" or "exact"; `jaxcv.ops.gaussian_filter` says which is when wanted.
        max_points: of lattices: static room for their points, an int for all or one for each term.
            None, outside jit only: counted.

    Raises:
        ValueError: an image that is not [H, W, C] or missing, an unknown filter, wrong bandwidths
            or normalisations, no `max_points` where the image is traced.
    """
    if image is not None:
        image = jnp.asarray(image)
        if image.ndim != 3 or 0 in image.shape[:2]:
            raise ValueError(
                f"image must be [H, W, C], H and W above 0, got {list(image.shape)}. For a batch,"
                " jax.vmap the function."
            )
    elif not all(isinstance(term, Pairwise) for term in terms):
        raise ValueError("image may be None only where all terms are Pairwise.")
    if filter not in ("lattice", "exact"):
        raise ValueError(f"filter must be 'lattice' or 'exact', got {filter!r}.")
    rooms = max_points if isinstance(max_points, (tuple, list)) else [max_points] * len(terms)
    if len(rooms) != len(terms):
        raise ValueError(f"max_points must be one for each of {len(terms)} terms, got {rooms}.")
    return tuple(
        _built(image, term, filter=filter, max_points=room) for term, room in zip(terms, rooms)
    )


def dense_crf(unary, image, terms, *, iterations=10, filter="lattice", max_points=None):
    """Marginals of a dense CRF over an image after some steps of mean field.

    Args:
        unary: [H, W, L] float, energies: -log of probabilities.
        image: [H, W, C], or None if all terms are `Pairwise`.
        terms, filter, max_points: as of `build_terms`.
        iterations: static, 0 or more.

    Returns:
        [H, W, L] of the dtype of `unary`; over labels they sum to 1. All are nan (and labels of
        `map_labels` -1) where a lattice has more points than `max_points` or, as `lattice_kernel`
        says, a bandwidth is too small. What is narrower than float32 is computed in float32.
        Differentiable in `unary` and compatibilities (once, in reverse); not in the image. A batch
        over an explicit mesh: exact filters under `vmap`, lattices in a `jax.shard_map`.

    Raises:
        ValueError: shapes that do not fit, and as of `build_terms`.

    Source: equal to pydensecrf with the lattice (golden crf/*, q*) and to the exact mean field
        with the exact filter (exact_q*).
    Cost: a step takes O(N L) time with lattices, O(N^2 L) exactly. Memory: about 4 N L floats and,
        for a lattice over D features, 7 N D more; for gradients N L floats for each step.
    """
    unary, terms = _image_terms(unary, image, terms, filter, max_points)
    return mean_field(unary, terms, iterations=iterations)


def mean_field(unary, terms, *, iterations=10):
    """`dense_crf` over anything that has features: points, superpixels, a signal.

    Args:
        unary: [..., L] float, energies.
        terms: any number of `Pairwise`, with kernels over as many features.
        iterations: static, 0 or more.

    Returns:
        Marginals [..., L].

    Raises:
        ValueError: shapes that do not fit.
    """
    check_iterations(iterations)
    unary = jnp.asarray(unary)
    flat, kernels, mixings = _prepared(unary, terms)
    marginals = _marginals(flat, kernels, mixings, iterations=iterations)
    return marginals.reshape(unary.shape).astype(unary.dtype)


def mean_field_history(unary, terms, *, iterations=10):
    """All steps of `mean_field`, with their divergences.

    Returns:
        marginals: [iterations + 1, ..., L], the first those of the unaries.
        divergence: [iterations + 1] float32, of `mean_field_divergence`.
    """
    check_iterations(iterations)
    unary = jnp.asarray(unary)
    flat, kernels, mixings = _prepared(unary, terms)
    history, divergence = _history(flat, kernels, mixings, iterations=iterations)
    return history.reshape(-1, *unary.shape).astype(unary.dtype), divergence


def mean_field_divergence(unary, marginals, terms):
    """What mean field minimises: KL(Q || P) without log Z, as pydensecrf counts it.

    sum Q log Q + sum U Q + sum over k of sum Q (A_k Q M_k^T): every ordered pair counts, i = j
    included, without the factor 1/2 of the energy of a labelling.

    Args:
        unary: [..., L] float, energies.
        marginals: [..., L] float.
        terms: as of `mean_field`.

    Returns:
        [] float32.
    """
    unary, marginals = jnp.asarray(unary), jnp.asarray(marginals)
    if marginals.shape != unary.shape:
        raise ValueError(
            f"marginals must have the unaries' shape {list(unary.shape)}, got"
            f" {list(marginals.shape)}."
        )
    flat, kernels, mixings = _prepared(unary, terms)
    return _divergence(flat, kernels, mixings, filters.flat(marginals, "marginals"))


def map_labels(marginals):
    """The most probable label of each pixel: [..., L] -> [...] int32, the lower of equals.

    -1 where a marginal is nan, as all are if `max_points` were too few.
    """
    labels = jnp.argmax(marginals, axis=-1).astype(jnp.int32)
    return jnp.where(jnp.isnan(marginals).any(axis=-1), -1, labels)


def _built(image, term, **options):
    if isinstance(term, Pairwise):
        return term
    if isinstance(term, Gaussian):
        features = filters.position_features(image.shape[:2], sigma=term.sigma)
    elif isinstance(term, Bilateral):
        features = filters.bilateral_features(image, sigma=term.sigma, sigma_color=term.sigma_color)
    else:
        raise ValueError(f"terms must be Gaussian, Bilateral or Pairwise, got {term!r}.")
    if options["filter"] == "exact":
        kernel = filters.exact_kernel(features, normalization=term.normalization)
    else:
        kernel = filters.lattice_kernel(
            features, normalization=term.normalization, max_points=options["max_points"]
        )
    return Pairwise(kernel, term.compatibility)


def _image_terms(unary, image, terms, filter, max_points):
    unary = jnp.asarray(unary)
    if unary.ndim != 3 or not unary.size:
        raise ValueError(
            f"unary must be [H, W, L], none of them 0, got {list(unary.shape)}. For a batch,"
            " jax.vmap the function; for other layouts there is mean_field."
        )
    if image is not None and jnp.shape(image)[:2] != unary.shape[:2]:
        raise ValueError(
            f"image must be [H, W, C] of the unaries' size {unary.shape[:2]}, got"
            f" {list(jnp.shape(image))}."
        )
    return unary, build_terms(image, terms, filter=filter, max_points=max_points)


def _prepared(unary, terms):
    """Unaries [N, L] float32 at least, kernels, mixings."""
    flat = filters.flat(unary, "unary")
    for term in terms:
        if not isinstance(term, Pairwise):
            raise ValueError(f"terms must be Pairwise (of build_terms), got {term!r}.")
        filters.check_count(flat, term.kernel, "unary")
    mixings = tuple(_mixing(term.compatibility, flat.shape[1], flat.dtype) for term in terms)
    return flat, tuple(term.kernel for term in terms), mixings


def _mixing(compatibility, labels, dtype):
    """M: [] for a multiple of the identity, [L] for a diagonal, [L, L]."""
    compatibility = jnp.asarray(compatibility, dtype)
    if compatibility.shape not in ((), (labels,), (labels, labels)):
        raise ValueError(
            f"compatibility must be a number, [{labels}] or [{labels}, {labels}] for {labels}"
            f" labels, got {list(compatibility.shape)}."
        )
    if compatibility.ndim == 0:
        return -compatibility
    return compatibility if compatibility.ndim == 1 else (compatibility + compatibility.T) / 2


def check_iterations(iterations):
    """Raises ValueError unless it is a number of steps."""
    if not isinstance(iterations, numbers.Integral) or iterations < 0:
        raise ValueError(f"iterations must be an int, 0 or more, got {iterations!r}.")


@functools.partial(jax.jit, static_argnames="iterations")
def _marginals(unary, kernels, mixings, *, iterations):
    return _softmax(field_logits(unary, kernels, mixings, iterations=iterations))


@functools.partial(jax.jit, static_argnames="iterations")
def field_logits(unary, kernels, mixings, *, iterations):
    """Logits of the marginals, [N, L], from energies [N, L] and mixings M_k of any kind.

    A mixing is [] for a multiple of the identity, [L] for a diagonal or [L, L], not symmetrised.
    """
    labels = unary.shape[1]
    # Whole vectors of labels are faster. The energy of a label that is not is out of reach.
    more = -labels % 8 if labels > 4 else 0
    unary = jnp.pad(unary, ((0, 0), (0, more)), constant_values=1e30)
    mixings = tuple(jnp.pad(mixing, (0, more)) if mixing.ndim else mixing for mixing in mixings)

    def step(marginals, _):
        return _softmax(_logits(unary, kernels, mixings, marginals)), None

    if iterations == 0:
        return -unary[:, :labels]
    marginals, _ = jax.lax.scan(step, _softmax(-unary), length=iterations - 1)
    return _logits(unary, kernels, mixings, marginals)[:, :labels]


@functools.partial(jax.jit, static_argnames="iterations")
def _history(unary, kernels, mixings, *, iterations):
    def step(marginals, _):
        following = _softmax(_logits(unary, kernels, mixings, marginals))
        return following, following

    first = _softmax(-unary)
    _, others = jax.lax.scan(step, first, length=iterations)
    history = jnp.concatenate([first[None], others])
    return history, jax.lax.map(lambda q: _divergence(unary, kernels, mixings, q), history)


def _logits(unary, kernels, mixings, marginals):
    """-U - sum over k of A_k Q M_k^T. Labels are mixed at lattice points, which are fewer."""
    collected = tuple(
        -_mixed(mixing, filters.collect(kernel, marginals))
        for kernel, mixing in zip(kernels, mixings)
    )
    return filters.distribute(kernels, collected, -unary)


def _mixed(mixing, values):
    if mixing.ndim == 2:
        return jnp.matmul(values, mixing.T, precision="highest")
    return values * mixing if mixing.ndim == 0 else values * mixing[None]


@jax.jit
def _divergence(unary, kernels, mixings, marginals):
    def of_blocks(marginals, energy):
        energy = jnp.where(marginals == 0, 0, energy)  # which may be infinite there
        each = jnp.sum(marginals * (jnp.log(jnp.maximum(marginals, 1e-20)) + energy), axis=1)
        return jnp.pad(each, (0, -len(each) % 64)).reshape(-1, 64).sum(axis=1)

    energy = -_logits(unary, kernels, mixings, marginals)
    # In two sums: one long sum of like terms loses two digits in float32.
    return jnp.sum(fusion.apart(of_blocks, marginals, energy))


@jax.custom_vjp
def _softmax(logits):
    """Over the last axis."""
    return _softmax_in_stages(logits)


def _softmax_in_stages(logits):
    if logits.shape[1] > 8:
        return fusion.apart(lambda x: jax.nn.softmax(x.T, axis=0).T, logits)
    # Over few labels reductions are slow on a CPU.
    columns = jnp.unstack
    top = fusion.apart(lambda x: functools.reduce(jnp.maximum, columns(x, axis=1)), logits)
    powers = fusion.apart(lambda x, top: jnp.exp(x - top[:, None]), logits, top)
    total = fusion.apart(lambda e: sum(columns(e, axis=1)), powers)
    return powers / total[:, None]


def _softmax_backward(marginals, gradient):
    return (marginals * (gradient - jnp.sum(marginals * gradient, axis=1, keepdims=True)),)


_softmax.defvjp(lambda logits: (_softmax_in_stages(logits),) * 2, _softmax_backward)
