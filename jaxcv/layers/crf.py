"""The dense CRF as a layer that is trained with the network before it."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv import ops
from jaxcv.ops import crf


class CRFasRNN(nn.Module):
    """Steps of mean field over logits: [B, H, W, L] and image [B, H, W, C] -> logits [B, H, W, L].

    Parameters: `weight0`, `weight1`, ... [L], how much each term counts for each label, at the
    start the term's own `compatibility`; `compatibility` [L, L], what label l costs (row) where a
    neighbour has label l' (column), at the start -1 on the diagonal (Potts). No gradient goes to
    the image.

    Terms are `ops.Gaussian` and `ops.Bilateral`, their compatibility a number. `max_points`: room
    for lattice points in each term, as of `ops.lattice_kernel`; beyond it the output is nan. The
    filter "exact" needs none.

    Source: Zheng et al., "Conditional random fields as recurrent neural networks", 2015. There
    filters are normalised "after", there are 5 steps in training and 10 in testing, and colours up
    to 255.
    """

    terms: Sequence[Any]
    iterations: int = 5
    filter: str = "lattice"
    max_points: int | Sequence[int] | None = None

    @nn.compact
    def __call__(self, logits, image):
        _check(self)
        logits, image = jnp.asarray(logits), jnp.asarray(image)
        if logits.ndim != 4 or image.ndim != 4 or logits.shape[:3] != image.shape[:3]:
            raise ValueError(
                "logits and image must be [B, H, W, L] and [B, H, W, C] of one size, got"
                f" {list(logits.shape)} and {list(image.shape)}."
            )
        labels = logits.shape[-1]
        dtype = jnp.promote_types(logits.dtype, jnp.float32)
        mixing = self.param("compatibility", lambda _: -jnp.eye(labels, dtype=jnp.float32))
        weights = [
            self.param(
                f"weight{i}", nn.initializers.constant(term.compatibility), (labels,), jnp.float32
            )
            for i, term in enumerate(self.terms)
        ]
        mixings = tuple(mixing * weight[None] for weight in weights)

        def one(logits, image):
            built = ops.build_terms(
                image, self.terms, filter=self.filter, max_points=self.max_points
            )
            kernels = tuple(term.kernel for term in built)
            energies = -logits.reshape(-1, labels).astype(dtype)
            refined = crf.field_logits(energies, kernels, mixings, iterations=self.iterations)
            return refined.reshape(logits.shape).astype(logits.dtype)

        return jax.vmap(one)(logits, image)


def _check(layer):
    crf.check_iterations(layer.iterations)
    if layer.filter == "lattice" and layer.max_points is None:
        raise ValueError(
            "max_points must be given for the filter 'lattice', whose size cannot depend on a"
            " batch's values, got None. Or take the filter 'exact'."
        )
    for term in layer.terms:
        if not isinstance(term, (ops.Gaussian, ops.Bilateral)):
            raise ValueError(f"terms must be Gaussian or Bilateral, got {term!r}.")
        if jnp.ndim(term.compatibility) != 0:
            raise ValueError(
                "compatibility of a term must be a number, where each label's weight starts, got"
                f" {term.compatibility!r}."
            )
