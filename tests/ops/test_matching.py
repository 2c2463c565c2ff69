import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxcv import ops
from tests import golden
from tests.ops.transforms import assert_same_under_transforms

FILE = "ops/boxes.npz"
RPN = {"high_threshold": 0.7, "low_threshold": 0.3, "allow_low_quality": True}
QUALITY = np.array([[0.8, 0.5, 0.1, 0.0], [0.2, 0.6, 0.4, 0.4]], np.float32)
quick = settings(max_examples=25, deadline=None, derandomize=True)
# Multiples of 1/10, so that many are equal and many lie on a threshold.
tenths = hnp.arrays(np.int32, (4, 9), elements=st.integers(0, 10))


@pytest.mark.parametrize("case", golden.cases(FILE, "matcher"), ids=lambda c: c.name)
def test_match_equals_torchvision(case):
    options = dict(case.arguments)
    options["allow_low_quality"] = options.pop("allow_low_quality_matches")
    got = ops.match(case.inputs["match_quality_matrix"], **options)
    np.testing.assert_array_equal(got, case.outputs["output"])


@pytest.mark.parametrize("case", golden.cases(FILE, "ssd_matcher"), ids=lambda c: c.name)
def test_ssd_match_equals_torchvision(case):
    got = ops.ssd_match(case.inputs["match_quality_matrix"], **case.arguments)
    np.testing.assert_array_equal(got, case.outputs["output"])


@quick
@given(tenths, hnp.arrays(bool, 4), hnp.arrays(bool, 9), st.booleans())
def test_match_does_what_the_words_say(tenth, valid, ignore, low_quality):
    quality = tenth.astype(np.float32) / np.float32(10)
    got = ops.match(
        quality, **{**RPN, "allow_low_quality": low_quality}, valid=valid, ignore=ignore
    )
    real = np.flatnonzero(valid)
    for anchor in range(9):
        column = [tenth[truth, anchor] for truth in real]
        best = max(column, default=-1)
        keeps = any(tenth[truth, anchor] == tenth[truth].max() > 0 for truth in real)
        if best >= 7 or (low_quality and keeps):
            assert got[anchor] == real[column.index(best)]
        else:
            assert got[anchor] == (-2 if best >= 3 or ignore[anchor] else -1)


@quick
@given(tenths, hnp.arrays(bool, 4))
def test_ssd_match_lets_every_ground_truth_keep_its_first_best_anchor(tenth, valid):
    quality = tenth.astype(np.float32) / np.float32(10)
    got = np.asarray(ops.ssd_match(quality, threshold=0.5, valid=valid))
    want = np.array(ops.match(quality, high_threshold=0.5, low_threshold=0.5, valid=valid))
    for truth in np.flatnonzero(valid):
        if tenth[truth].any():
            want[tenth[truth].argmax()] = truth
    np.testing.assert_array_equal(got, want)


def test_a_ground_truth_that_overlaps_nothing_matches_nothing():
    quality = np.array([[0, 0.9, 0], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(ops.match(quality, **RPN), [-1, 0, -1])
    np.testing.assert_array_equal(ops.ssd_match(quality, threshold=0.5), [-1, 0, -1])


def test_nan_matches_nothing():
    quality = np.array([[np.nan, np.nan, 0.4], [0.8, 0.1, 0.2]], np.float32)
    np.testing.assert_array_equal(ops.match(quality, **RPN), [1, -1, 0])
    np.testing.assert_array_equal(ops.ssd_match(quality, threshold=0.5), [1, -1, 0])


def test_an_anchor_in_a_crowd_is_not_negative():
    anchors = jnp.array([[0.0, 0, 4, 4], [20, 20, 24, 24], [50, 50, 54, 54]])
    boxes = jnp.array([[0.0, 0, 4, 4], [10, 10, 40, 40]])
    crowd = jnp.array([False, True])
    ignore = ((ops.box_iou(anchors, boxes, crowd=crowd) >= 0.7) & crowd[None]).any(axis=1)
    got = ops.match(ops.box_iou(boxes, anchors), **RPN, valid=~crowd, ignore=ignore)
    np.testing.assert_array_equal(got, [0, -2, -1])


def test_no_ground_truth_and_no_anchor():
    np.testing.assert_array_equal(ops.match(QUALITY[:0], **RPN), [-1] * 4)
    np.testing.assert_array_equal(ops.ssd_match(QUALITY[:0], threshold=0.5), [-1] * 4)
    assert ops.match(QUALITY[:, :0], **RPN).shape == (0,)
    assert ops.ssd_match(QUALITY[:, :0], threshold=0.5).shape == (0,)
    np.testing.assert_array_equal(ops.match(QUALITY, **RPN, valid=np.zeros(2, bool)), [-1] * 4)


@pytest.mark.parametrize(
    ("positives", "negatives", "want"),
    [(20, 20, (3, 7)), (2, 20, (2, 8)), (0, 20, (0, 10)), (20, 4, (3, 4)), (1, 2, (1, 2))],
)
def test_a_balanced_sample_holds_as_many_of_each_as_torchvisions(positives, negatives, want):
    labels = np.full(50, -1, np.int32)
    labels[:positives], labels[positives : positives + negatives] = 5, 0
    labels = np.random.default_rng(0).permutation(labels)
    indices, valid = ops.sample_balanced(jax.random.key(0), labels, size=10, positive_fraction=0.35)
    taken = np.asarray(indices)[np.asarray(valid)]
    assert len(set(taken)) == len(taken) == sum(want)
    np.testing.assert_array_equal(labels[taken], [5] * want[0] + [0] * want[1])
    np.testing.assert_array_equal(np.asarray(indices)[~np.asarray(valid)], 0)


def test_a_balanced_sample_is_uniform_and_without_memory():
    labels = np.array([0, 1, 1, 0, 1, -1, 0, 1, 0, 0], np.int32)
    keys = jax.random.split(jax.random.key(0), 20_000)
    draw = functools.partial(ops.sample_balanced, labels=labels, size=4, positive_fraction=0.5)
    indices, valid = jax.jit(jax.vmap(draw))(keys)
    assert valid.all()
    # Two of four positives and two of five negatives; three standard deviations are 0.011.
    share = np.bincount(np.asarray(indices).ravel(), minlength=10) / len(keys)
    np.testing.assert_allclose(
        share, np.where(labels > 0, 2 / 4, np.where(labels < 0, 0, 2 / 5)), atol=0.011
    )
    # Every pair of positives is as likely as any other: 1 of 6.
    pairs = np.sort(np.asarray(indices)[:, :2], axis=1) @ [10, 1]
    np.testing.assert_allclose(
        np.unique(pairs, return_counts=True)[1] / len(keys), 1 / 6, atol=0.008
    )


def test_a_sample_larger_than_what_there_is():
    indices, valid = ops.sample_balanced(
        jax.random.key(0), np.array([1, 0], np.int32), size=5, positive_fraction=0.5
    )
    np.testing.assert_array_equal(indices, [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(valid, [True, True, False, False, False])
    _, valid = ops.sample_balanced(
        jax.random.key(0), np.zeros(0, np.int32), size=3, positive_fraction=0.5
    )
    assert not valid.any()


def everything(quality, valid, labels, seed):
    return {
        "match": ops.match(quality, **RPN, valid=valid),
        "ssd_match": ops.ssd_match(quality, threshold=0.5, valid=valid),
        "sample_balanced": ops.sample_balanced(
            jax.random.key(seed[0]), labels, size=3, positive_fraction=0.5
        ),
    }


def test_all_functions_are_the_same_under_transformations():
    labels = np.array([1, 0, 0, -1, 1, 1], np.int32)
    assert_same_under_transforms(
        everything, QUALITY, np.array([True, False]), labels, np.array([3])
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.match(QUALITY[0], **RPN),
            r"quality must be \[ground truths, anchors\].*\[4\]",
        ),
        (lambda: ops.match(QUALITY.astype(int), **RPN), "floating dtype, got quality int32"),
        (
            lambda: ops.match(QUALITY, high_threshold=0.3, low_threshold=0.7),
            "low_threshold must not be above high_threshold, got 0.7 and 0.3",
        ),
        (lambda: ops.match(QUALITY, **RPN, valid=np.ones(4, bool)), r"valid must be \[2\] bool"),
        (lambda: ops.match(QUALITY, **RPN, ignore=np.ones(4)), r"ignore must be \[4\] bool.*float"),
        (
            lambda: ops.sample_balanced(jax.random.key(0), QUALITY, size=4, positive_fraction=0.5),
            r"labels must be \[N\] int, got \[2, 4\] float32",
        ),
        (
            lambda: ops.sample_balanced(
                jax.random.key(0), np.ones(3, int), size=4, positive_fraction=25
            ),
            "positive_fraction within 0..1, got 4 and 25",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
