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
    for lattice points in each term, as of `ops.lattice_kernel`; beyond it the output is nan.

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
        if logits.ndim != 4 or image.ndim != 4 or logits.shape[:3] != image.shape[:3]:
            raise ValueError(
                "logits and image must be [B, H, W, L] and [B, H, W, C] of one size, got"
                f" {list(logits.shape)} and {list(image.shape)}."
            )
        labels = logits.shape[-1]
        mixing = self.param("compatibility", lambda _: -jnp.eye(labels))
        weights = [
            self.param(f"weight{i}", nn.initializers.constant(term.compatibility), (labels,))
            for i, term in enumerate(self.terms)
        ]
        mixings = tuple(mixing * weight[None] for weight in weights)

        def one(logits, image):
            built = ops.build_terms(
                image, self.terms, filter=self.filter, max_points=self.max_points
            )
            kernels = tuple(term.kernel for term in built)
            energies = -logits.reshape(-1, labels).astype(mixing.dtype)
            refined = crf.field_logits(energies, kernels, mixings, iterations=self.iterations)
            return refined.reshape(logits.shape).astype(logits.dtype)

        return jax.vmap(one)(logits, image)
