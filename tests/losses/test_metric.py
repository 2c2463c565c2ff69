import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import losses
from tests import golden
from tests.meets import assert_meets

FILE = "ops/layers.npz"
TORCH = "torch.nn.functional."

OURS = {
    TORCH + "cosine_embedding_loss": (losses.cosine_embedding, ("input1", "input2", "target")),
    TORCH + "triplet_margin_loss": (losses.triplet_margin, ("anchor", "positive", "negative")),
    TORCH + "margin_ranking_loss": (losses.margin_ranking, ("input1", "input2", "target")),
    "contrastive_loss": (losses.contrastive, ("x1", "x2", "dissimilar")),
}


@pytest.mark.parametrize("case", golden.cases(FILE, *OURS), ids=lambda c: c.name)
def test_embedding_losses_equal_the_reference(case):
    loss, names = OURS[case.function]
    # torch's p = 2 and eps = 1e-6 are the only ones we have.
    options = {key: value for key, value in case.arguments.items() if key in ("margin", "swap")}
    assert_meets(case, lambda inputs: (loss(*(inputs[n] for n in names), **options).mean(),))


REFERENCE, POSITIVE, NEGATIVE = (
    jnp.array([[1.0, 0]]),
    jnp.array([[0.8, 0.6]]),
    jnp.array([[0, 1.0]]),
)


@pytest.mark.parametrize(
    ("margin", "squared", "want"),
    [(1, True, 0), (2, True, 0.4), (1, False, 0.218242), (2, False, 1.218242)],
)
def test_triplet_margin_by_hand(margin, squared, want):
    # Distances sqrt(0.4) and sqrt(2).
    got = losses.triplet_margin(REFERENCE, POSITIVE, NEGATIVE, margin=margin, squared=squared)
    np.testing.assert_allclose(got, [want], atol=2e-6)


def test_contrastive_by_hand():
    # 0.4 / 2 for the similar pair; max(0, margin - sqrt(2))^2 / 2 for the dissimilar.
    similar, dissimilar = jnp.zeros(1), jnp.ones(1)
    got = [
        losses.contrastive(REFERENCE, POSITIVE, similar),
        losses.contrastive(REFERENCE, NEGATIVE, dissimilar, margin=1.0),
        losses.contrastive(REFERENCE, NEGATIVE, dissimilar, margin=2.0),
    ]
    np.testing.assert_allclose(np.ravel(got), [0.2, 0, 0.171573], atol=1e-6)


def test_similarities_by_hand():
    # Cosines 0.8 and 0: as a ranking with margin 1 they cost 1 - 0.8 + 0.
    ranking = losses.margin_ranking(jnp.array([0.8]), jnp.array([0.0]), jnp.array([1]), margin=1)
    np.testing.assert_allclose(ranking, [0.2], rtol=1e-6)
    same, other = jnp.array([1]), jnp.array([-1])
    cosine = losses.cosine_embedding
    np.testing.assert_allclose(cosine(REFERENCE, POSITIVE, same), [0.2], rtol=1e-6)
    np.testing.assert_allclose(cosine(REFERENCE, POSITIVE, other, margin=0.5), [0.3], rtol=1e-6)


def test_gradients_are_finite_where_embeddings_coincide_or_vanish():
    zero = jnp.zeros((1, 3))

    def total(x):
        return [
            losses.contrastive(x, zero, jnp.ones(1)).sum(),
            losses.triplet_margin(x, zero, zero).sum(),
            losses.triplet_margin(x - 1e-6, zero, zero).sum(),  # cancels torch's constant
            losses.triplet_margin(x, zero, zero, squared=True).sum(),
            losses.cosine_embedding(x, zero, jnp.ones(1)).sum(),
        ]

    assert np.isfinite(jax.jit(jax.jacobian(total))(zero)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: losses.contrastive(x, x, x), r"dissimilar must be \[2\].*got \[2, 3\]"),
        (lambda x: losses.contrastive(x, x[:1], x[:, 0]), "expected one shape"),
        (lambda x: losses.cosine_embedding(x, x, x[:1, 0]), r"target must be \[2\].*got \[1\]"),
        (lambda x: losses.triplet_margin(x, x, x[0]), r"negative \[3\]"),
        (lambda x: losses.margin_ranking(x, x[:, 0], x), "expected one shape"),
    ],
)
def test_embedding_losses_name_the_wrong_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 3)))
