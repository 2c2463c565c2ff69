"""Losses of embeddings: [..., C] vectors and their distances -> [...]."""

import jax
import jax.numpy as jnp

from jaxcv.losses import inputs
from jaxcv.ops.program import one_program


@one_program("margin")
def contrastive(embedding1, embedding2, dissimilar, *, margin=1.0):
    """D^2 / 2 for similar pairs, max(0, margin - D)^2 / 2 for dissimilar: [..., C] twice -> [...].

    Args:
        embedding1, embedding2: [..., C] float; D is the Euclidean distance of a pair.
        dissimilar: [...], 0 for similar pairs, 1 for dissimilar (the paper's Y).
        margin: the distance from which dissimilar pairs cost nothing.

    Raises:
        ValueError: shapes that do not fit.

    Source: Hadsell, Chopra, LeCun, "Dimensionality reduction by learning an invariant mapping",
        2006, equations 1 to 4. Gradient 0 where a pair coincides.
    """
    embedding1, embedding2 = inputs.wide(embedding1), inputs.wide(embedding2)
    dissimilar = inputs.wide(dissimilar)
    inputs.check_same_shape(embedding1=embedding1, embedding2=embedding2)
    _check_pairs(embedding1, dissimilar=dissimilar)
    distance = _norm(embedding1 - embedding2)
    apart = jax.nn.relu(margin - distance)
    return (1 - dissimilar) * distance**2 / 2 + dissimilar * apart**2 / 2


@one_program("margin", "squared", "swap")
def triplet_margin(anchor, positive, negative, *, margin=1.0, squared=False, swap=False):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin): [..., C] thrice -> [...].

    Args:
        anchor, positive, negative: [..., C] float.
        margin: how much farther the negative should be.
        squared: of squared distances, as the paper; else of distances, as torch.
        swap: take d(positive, negative) for the negative's distance where it is smaller.

    Raises:
        ValueError: shapes differ.

    Source: Schroff, Kalenichenko, Philbin, "FaceNet", 2015; torch.nn.functional
        .triplet_margin_loss, which adds 1e-6 to every difference before the norm. So do we, but not
        if `squared`.
    """
    anchor, positive, negative = (inputs.wide(x) for x in (anchor, positive, negative))
    inputs.check_same_shape(anchor=anchor, positive=positive, negative=negative)

    def distance(first, second):
        if squared:
            return jnp.square(first - second).sum(-1)
        return _norm(first - second + 1e-6)

    apart = distance(anchor, negative)
    if swap:
        apart = jnp.minimum(apart, distance(positive, negative))
    return jax.nn.relu(distance(anchor, positive) - apart + margin)


@one_program("margin")
def cosine_embedding(embedding1, embedding2, target, *, margin=0.0):
    """1 - cos for pairs with target 1, max(0, cos - margin) for -1: [..., C] twice -> [...].

    Args:
        embedding1, embedding2: [..., C] float. The cosine with a zero vector is 0.
        target: [...], 1 for similar pairs, -1 for dissimilar.
        margin: the cosine below which dissimilar pairs cost nothing.

    Raises:
        ValueError: shapes that do not fit.

    Source: torch.nn.functional.cosine_embedding_loss.
    """
    embedding1, embedding2 = inputs.wide(embedding1), inputs.wide(embedding2)
    target = jnp.asarray(target)
    inputs.check_same_shape(embedding1=embedding1, embedding2=embedding2)
    _check_pairs(embedding1, target=target)
    # The constant, torch's, keeps the gradient of the root finite.
    squares1 = jnp.square(embedding1).sum(-1) + 1e-12
    squares2 = jnp.square(embedding2).sum(-1) + 1e-12
    cosine = (embedding1 * embedding2).sum(-1) / jnp.sqrt(squares1 * squares2)
    return jnp.where(target == 1, 1 - cosine, jax.nn.relu(cosine - margin))


@one_program("margin")
def margin_ranking(first, second, target, *, margin=0.0):
    """max(0, margin - target (first - second)): [...] -> [...].

    Args:
        first, second: [...] float scores.
        target: [...], 1 where the first should be larger, -1 where the second.
        margin: by how much.

    Raises:
        ValueError: shapes differ.

    Source: torch.nn.functional.margin_ranking_loss.
    """
    first, second, target = inputs.wide(first), inputs.wide(second), jnp.asarray(target)
    inputs.check_same_shape(first=first, second=second, target=target)
    return jax.nn.relu(margin - target * (first - second))


def _norm(vectors):
    """Euclidean length: [..., C] -> [...], with gradient 0 at length 0."""
    squares = jnp.square(vectors).sum(-1)
    # A `where` on each side of the root, whose gradient at 0 is infinite.
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def _check_pairs(embedding, **per_pair):
    for name, array in per_pair.items():
        if array.shape != embedding.shape[:-1]:
            raise ValueError(
                f"{name} must be {list(embedding.shape[:-1])}, one a pair of embeddings"
                f" {list(embedding.shape)}, got {list(array.shape)}."
            )
