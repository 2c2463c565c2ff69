import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from jax.test_util import check_grads

from jaxcv import ops
from tests.ops.transforms import assert_same_under_transforms

TERMS = (ops.Gaussian(2.7, 1.0), ops.Bilateral(5.3, 0.31, 2.0, normalization="after"))
ROOM = (64, 384)


def scene(labels=3, size=(6, 7)):
    """Unaries [H, W, L] and an image [H, W, 3] with values up to 1."""
    unary = jax.random.uniform(jax.random.key(0), (*size, labels), maxval=3)
    return unary, jax.random.uniform(jax.random.key(1), (*size, 3))


# Three pixels in a row: I 0 0 1, P(label 0) .9 .4 .3. The kernel is a sum of
# 1 exp(-.5 |p|^2 - 2 |I|^2) and .5 exp(-.5 |p|^2), not normalised.
PROBABILITIES = np.array([0.9, 0.4, 0.3])
ROW_UNARY = jnp.asarray(-np.log(np.stack([PROBABILITIES, 1 - PROBABILITIES], axis=1)), jnp.float32)


def row_terms(**options):
    place = jnp.arange(3.0)[:, None]
    both = jnp.concatenate([place, jnp.array([[0.0], [0], [1]]) / 0.5], axis=1)
    return [
        ops.Pairwise(ops.exact_kernel(both, **options), 1.0),
        ops.Pairwise(ops.exact_kernel(place, **options), 0.5),
    ]


@pytest.mark.parametrize(
    ("self_term", "iterations", "want"),
    [
        (False, 1, [0.878774, 0.541959, 0.298263]),
        (False, 10, [0.905107, 0.548652, 0.322974]),
        (True, 1, [0.960108, 0.467105, 0.189144]),
        (True, 10, [0.979376, 0.661809, 0.157702]),
    ],
)
def test_three_pixels_by_hand(self_term, iterations, want):
    got = ops.mean_field(ROW_UNARY, row_terms(self_term=self_term), iterations=iterations)
    np.testing.assert_allclose(got[:, 0], want, atol=2e-6)


def test_the_best_labelling_of_three_pixels_needs_the_compatibility():
    first, second = (
        np.asarray(ops.gaussian_filter(jnp.eye(3), term.kernel)) for term in row_terms()
    )
    kernel = first + 0.5 * second
    np.testing.assert_allclose(
        [kernel[0, 1], kernel[0, 2], kernel[1, 2]], [0.909796, 0.085983, 0.38535], atol=1e-6
    )

    def energy(labels, cost):
        pairs = sum(kernel[i, j] * cost(labels[i], labels[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
        return sum(float(ROW_UNARY[i, label]) for i, label in enumerate(labels)) + pairs

    labellings = list(itertools.product((0, 1), repeat=3))
    potts = {labels: energy(labels, lambda a, b: a != b) for labels in labellings}
    constant = {labels: energy(labels, lambda a, b: 1) for labels in labellings}
    alone = {labels: energy(labels, lambda a, b: 0) for labels in labellings}
    assert min(potts, key=potts.get) == (0, 0, 1)
    np.testing.assert_allclose(potts[0, 0, 1], 1.84966, atol=1e-5)
    # Without it every labelling costs the same more, and the unaries decide alone.
    assert min(constant, key=constant.get) == min(alone, key=alone.get) == (0, 1, 1)
    np.testing.assert_allclose(constant[0, 1, 1] - alone[0, 1, 1], 1.38113, atol=1e-5)


@pytest.mark.parametrize("filter", ["exact", "lattice"])
def test_marginals_sum_to_one_and_follow_their_labels(filter):
    unary, image = scene(5)
    matrix = jax.random.normal(jax.random.key(2), (5, 5))
    order = jnp.array([3, 0, 4, 1, 2])

    def run(unary, matrix):
        term = ops.Bilateral(5.3, 0.31, matrix)
        return ops.dense_crf(unary, image, [term], iterations=4, filter=filter)

    marginals = run(unary, matrix)
    np.testing.assert_allclose(marginals.sum(axis=-1), 1, atol=1e-6)
    permuted = run(unary[..., order], matrix[order][:, order])
    np.testing.assert_allclose(permuted, marginals[..., order], atol=1e-6)


@pytest.mark.parametrize("terms", [[], [ops.Gaussian(2.0, 0.0), ops.Bilateral(2.0, 0.3, 0.0)]])
def test_without_weight_the_unaries_alone_count(terms):
    unary, image = scene()
    got = ops.dense_crf(unary, image, terms)
    np.testing.assert_allclose(got, jax.nn.softmax(-unary), atol=1e-6)


def test_on_a_constant_image_the_bilateral_filter_blurs():
    _, image = scene()
    features = ops.bilateral_features(0 * image + 0.5, sigma=2.0, sigma_color=0.1)
    values = jax.random.normal(jax.random.key(3), (6, 7, 2))
    got = ops.gaussian_filter(values, ops.exact_kernel(features))
    y, x = np.arange(6.0), np.arange(7.0)
    rows, columns = (np.exp(-((a[:, None] - a) ** 2) / 8) for a in (y, x))
    np.testing.assert_allclose(got, np.einsum("ij,kl,jlc->ikc", rows, columns, values), atol=1e-4)


def test_a_vector_and_a_matrix_say_what_a_number_says():
    unary, image = scene(3)

    def run(compatibility):
        return ops.dense_crf(unary, image, [ops.Gaussian(2.0, compatibility)], filter="exact")

    want = run(3.0)
    np.testing.assert_allclose(run(jnp.full(3, -3.0)), want, atol=1e-6)
    # 3 more for every label alike.
    np.testing.assert_allclose(run(3.0 * (1 - jnp.eye(3))), want, atol=1e-5)


def test_history_ends_with_the_marginals_and_its_divergence_is_theirs():
    unary, image = scene(5)
    terms = ops.build_terms(image, TERMS, filter="exact")
    marginals, divergence = ops.mean_field_history(unary, terms, iterations=4)
    assert marginals.shape == (5, *unary.shape)
    want = ops.dense_crf(unary, None, terms, iterations=4)
    np.testing.assert_allclose(marginals[-1], want, atol=1e-6)
    want = ops.mean_field_divergence(unary, want, terms)
    np.testing.assert_allclose(divergence[-1], want, rtol=1e-5)


@pytest.mark.parametrize("filter", ["exact", "lattice"])
def test_gradients_are_finite_differences(filter):
    unary, image = scene(3, (4, 5))
    terms = ops.build_terms(image, TERMS, filter=filter)
    weights = jax.random.normal(jax.random.key(4), unary.shape)

    def loss(unary, number, vector, matrix):
        changed = [
            ops.Pairwise(term.kernel, compatibility)
            for term, compatibility in zip((terms[0], *terms), (number, vector, matrix))
        ]
        return (weights * ops.dense_crf(unary, None, changed, iterations=3)).sum()

    with jax.enable_x64(True):
        matrix = jax.random.normal(jax.random.key(5), (3, 3), jnp.float64)
        arguments = (unary.astype(jnp.float64), jnp.float64(1.0), matrix[0], matrix)
        check_grads(jax.jit(loss), arguments, order=1, modes=["rev"], rtol=1e-6, atol=1e-6)


def test_labels_that_fill_up_a_vector_change_nothing():
    unary, image = scene(5)  # computed as 8
    terms = ops.build_terms(image, TERMS)

    def loss(unary):
        return jnp.square(ops.dense_crf(unary, None, terms, iterations=2)).sum()

    filled = jnp.concatenate([unary, jnp.full((6, 7, 3), 50.0)], axis=-1)
    np.testing.assert_allclose(loss(filled), loss(unary), rtol=1e-6)
    np.testing.assert_allclose(
        jax.grad(loss)(filled)[..., :5], jax.grad(loss)(unary), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("filter", ["exact", "lattice"])
def test_the_crf_is_the_same_under_all_transforms(filter):
    run = functools.partial(
        ops.dense_crf, terms=TERMS, iterations=3, filter=filter, max_points=ROOM
    )
    assert_same_under_transforms(run, *map(np.asarray, scene()))


def test_a_batch_may_be_spread_over_an_explicit_mesh():
    mesh = jax.make_mesh((2,), ("batch",), devices=jax.devices()[:2])
    spread = NamedSharding(mesh, PartitionSpec("batch"))
    batch = [jnp.stack([array, array[::-1]]) for array in scene()]
    run = jax.vmap(functools.partial(ops.dense_crf, terms=TERMS, iterations=2, filter="exact"))
    got = jax.jit(run)(*(jax.device_put(array, spread) for array in batch))
    assert len(got.sharding.device_set) == 2
    np.testing.assert_allclose(got, run(*batch), atol=1e-6)


def test_labels_of_a_lattice_without_room_are_below_zero():
    unary, image = scene()
    marginals = ops.dense_crf(unary, image, TERMS[:1], iterations=1, max_points=2)
    np.testing.assert_array_equal(ops.map_labels(marginals), np.full((6, 7), -1))


def test_the_divergence_of_a_certain_label_is_finite():
    # Row 1 is certain and adds nothing, row 2 -log(e^-.1 + e^-.2).
    unary = jnp.array([[0, jnp.inf], [0.1, 0.2]])
    got = ops.mean_field_divergence(unary, jax.nn.softmax(-unary), [])
    np.testing.assert_allclose(got, -np.log(np.exp(-0.1) + np.exp(-0.2)), rtol=1e-6)


@pytest.mark.parametrize("convert", [np.float64, np.ndarray.tolist])
def test_double_precision_of_numpy_and_lists_are_taken(convert, recwarn):
    unary, terms = convert(np.asarray(ROW_UNARY)), row_terms()
    got = ops.mean_field(unary, terms, iterations=1)
    np.testing.assert_array_equal(got, ops.mean_field(ROW_UNARY, terms, iterations=1))
    got = ops.gaussian_filter(unary, terms[0].kernel)
    np.testing.assert_array_equal(got, ops.gaussian_filter(ROW_UNARY, terms[0].kernel))
    assert not recwarn


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda u, i: ops.dense_crf(u[0], i, TERMS), r"unary must be \[H, W, L\].*got \[7, 3\]"),
        (lambda u, i: ops.dense_crf(u[..., :0], i, TERMS), r"none of them 0, got \[6, 7, 0\]"),
        (lambda u, i: ops.dense_crf(u[:0], i[:0], TERMS), r"none of them 0, got \[0, 7, 3\]"),
        (lambda u, i: ops.build_terms(i[0], TERMS[:1]), r"image must be \[H, W, C\].*got \[7, 3\]"),
        (
            lambda u, i: ops.build_terms(i[None], TERMS[:1]),
            r"\[1, 6, 7, 3\]. For a batch, jax.vmap",
        ),
        (lambda u, i: ops.build_terms(i[:0], TERMS), r"H and W above 0, got \[0, 7, 3\]"),
        (lambda u, i: ops.build_terms(None, TERMS), r"image may be None only where"),
        (
            lambda u, i: ops.dense_crf(u, i[1:], TERMS),
            r"of the unaries' size \(6, 7\).*\[5, 7, 3\]",
        ),
        (lambda u, i: ops.dense_crf(u, None, TERMS), r"image may be None only where"),
        (
            lambda u, i: ops.dense_crf(u, i, [ops.Gaussian(-3.0, 1.0)]),
            r"sigma must be a number above 0 or 2 of them, got -3\.0",
        ),
        (
            lambda u, i: ops.dense_crf(u, i, [ops.Gaussian(3.0, jnp.ones(4))], filter="exact"),
            r"compatibility must be a number, \[3\] or \[3, 3\] for 3 labels, got \[4\]",
        ),
        (lambda u, i: ops.dense_crf(u, i, TERMS, filter="Lattice"), r"filter must be .*'Lattice'"),
        (lambda u, i: ops.dense_crf(u, i, [3]), r"terms must be Gaussian, .*got 3"),
        (lambda u, i: ops.dense_crf(u, i, TERMS, max_points=[64]), r"one for each of 2 terms"),
        (
            lambda u, i: ops.dense_crf(u, i, [], iterations=1.5),
            r"iterations must be an int, 0 or more, got 1\.5",
        ),
        (
            lambda u, i: jax.jit(lambda u, i: ops.dense_crf(u, i, TERMS))(u, i),
            r"max_points must be given where features are traced",
        ),
        (
            lambda u, i: ops.dense_crf(
                u, None, ops.build_terms(i[1:], TERMS[:1], filter="exact"), iterations=1
            ),
            r"unary must be as many as the kernel's features, got 42 for 35",
        ),
        (lambda u, i: ops.mean_field(u, TERMS), r"terms must be Pairwise"),
        (lambda u, i: ops.mean_field_divergence(u, u[..., :2], []), r"the unaries' shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*scene())
