import functools
from unittest import mock

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from jaxcv import ops
from jaxcv.ops import greedy
from tests import golden

FILE = "ops/boxes.npz"
SIZE = 600  # two tiles, three blocks, eight parts
few = hypothesis.settings(max_examples=20, derandomize=True, deadline=None)


def selected(result):
    """The real rows of (indices, ..., valid), which come first and are zero behind."""
    *arrays, valid = (np.asarray(array) for array in result)
    assert not (np.diff(valid.astype(int)) > 0).any()
    assert all((array[~valid] == 0).all() for array in arrays)
    return [array[valid].tolist() for array in arrays]


def iou_of(boxes, i, others):
    """IoU of box i with `others` in the boxes' own precision, step by step."""
    with np.errstate(all="ignore"):
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        low = np.maximum(boxes[i, :2], boxes[others, :2])
        size = np.maximum(np.minimum(boxes[i, 2:], boxes[others, 2:]) - low, 0)
        common = size[:, 0] * size[:, 1]
        return common / (area[i] + area[others] - common)


def slow_nms(boxes, scores, threshold, classes=None):
    """The definition, one box after the other."""
    order = [i for i in np.argsort(-scores, kind="stable") if not np.isnan(scores[i])]
    kept = []
    while order:
        best, order = order[0], np.array(order[1:], int)
        kept.append(int(best))
        over = iou_of(boxes, best, order).astype(np.float64) > threshold
        if classes is not None:
            over &= classes[order] == classes[best]
        order = list(order[~over])
    return kept


def scene(seed, size=SIZE, extent=400.0):
    """Boxes, scores with ties, classes; some boxes empty, inverted or nan, some scores nan."""
    rng = np.random.default_rng(seed)
    centre, half = rng.uniform(0, extent, (size, 2)), rng.uniform(1, 60, (size, 2))
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    if seed % 2:
        boxes = boxes.round(-1)
    boxes[0:4, 2] = boxes[0:4, 0]
    boxes[4:8] = boxes[4:8, [2, 3, 0, 1]]
    boxes[[8, 9, 10, 11], [0, 1, 2, 3]] = np.nan
    boxes[12] = -np.nan
    boxes[13] = [-np.inf, 0, np.inf, 10]
    scores = rng.uniform(size=size).round(2)
    scores[20:24] = np.nan, -np.inf, 0.0, -0.0
    shuffle = rng.permutation(size)
    classes = rng.integers(-1, 3, size).astype(np.int32)
    return boxes[shuffle].astype(np.float32), scores[shuffle].astype(np.float32), classes


def threshold_for(draw, boxes):
    """A number as people write it, or the very IoU of a pair: the last bit decides."""
    ious = np.concatenate([iou_of(boxes, i, np.arange(i)) for i in range(1, 40)])
    ious = ious[(ious > 0) & (ious < 1)]
    if not len(ious) or draw(st.booleans()):
        return draw(st.integers(1, 19)) / 20
    return float(ious[draw(st.integers(0, len(ious) - 1))])


@pytest.mark.parametrize("case", golden.cases(FILE, "nms_sweep"), ids=lambda c: c.name)
def test_nms_selects_what_torchvision_selects(case):
    boxes, scores = case.inputs["boxes"], case.inputs["scores"]
    valid = None
    if 1 < len(boxes) < 64:  # to one size, which compiles once: what is not valid does nothing
        more = 64 - len(boxes)
        valid = np.arange(64) < len(boxes)
        boxes = np.concatenate([boxes, np.tile(np.float32([-1e4, -1e4, 1e4, 1e4]), (more, 1))])
        scores = np.concatenate([scores, np.full(more, 2, np.float32)])
    for threshold in case.arguments["iou_thresholds"]:
        want = case.outputs[f"keep_{threshold:.2f}"].tolist()
        assert selected(ops.nms(boxes, scores, threshold, valid=valid)) == [want], threshold


@pytest.mark.parametrize("case", golden.cases(FILE, "batched_nms"), ids=lambda c: c.name)
def test_batched_nms_selects_class_by_class(case):
    boxes, scores, classes = (case.inputs[name] for name in ("boxes", "scores", "idxs"))
    want = case.outputs["per_class"]
    want = want[np.lexsort((want, -scores[want]))].tolist()
    got = ops.batched_nms(boxes, scores, classes, case.arguments["iou_threshold"])
    assert selected(got) == [want]


@pytest.mark.parametrize("case", golden.cases(FILE, "soft_nms"), ids=lambda c: c.name)
def test_soft_nms_equals_the_papers_pseudocode(case):
    indices, scores = selected(ops.soft_nms(**case.inputs, **case.arguments))
    assert indices == case.outputs["indices"].tolist()
    if indices:
        golden.assert_close(scores, case.outputs["scores"], case.error["scores"])


# A(0,0,4,4) B(1,1,5,5) C(0,0,2,2) D(6,6,8,8) E(5,5,7,7), best first: the IoUs are AB 9/23, AC 1/4,
# BC 1/19, DE 1/7.
FIVE = np.float32([[0, 0, 4, 4], [1, 1, 5, 5], [0, 0, 2, 2], [6, 6, 8, 8], [5, 5, 7, 7]])
FIVE_SCORES = np.float32([0.9, 0.8, 0.7, 0.6, 0.5])


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [(0.05, "AD"), (0.1, "AD"), (0.2, "ADE"), (0.3, "ACDE"), (0.4, "ABCDE"), (0.5, "ABCDE")],
)
def test_nms_of_five_boxes_by_hand(threshold, kept):
    assert selected(ops.nms(FIVE, FIVE_SCORES, threshold)) == [["ABCDE".index(k) for k in kept]]


def test_soft_nms_of_five_boxes_by_hand():
    # A lowers B to 0.8 * 14/23 = .487 and C to 0.7 * 3/4 = .525; D lowers E to 0.5 * 6/7 = .4286;
    # then C lowers B to .487 * 18/19.
    got = ops.soft_nms(FIVE, FIVE_SCORES, iou_threshold=0.0)
    indices, scores = selected(got)
    assert indices == [0, 3, 2, 1, 4]
    want = [0.9, 0.6, 0.525, 0.8 * 14 / 23 * 18 / 19, 0.5 * 6 / 7]
    np.testing.assert_allclose(scores, want, rtol=1e-6)


WINDOWS = np.float32(
    [
        [10, 10, 50, 50],
        [14, 12, 54, 52],
        [12, 8, 48, 52],
        [100, 100, 140, 140],
        [104, 102, 144, 142],
    ]
)
CONFIDENCES = np.float32([0.02, 0.2, 0.42, 0.31, 0.8])


def test_merging_sums_the_confidences_of_matching_windows():
    # 0 + 2, then 3 + 4, then 1 + the first pair; the match of what is left is +127.
    boxes, scores, valid = ops.merge_boxes(WINDOWS, CONFIDENCES)
    assert valid.tolist() == [True, False, False, True, False]
    np.testing.assert_array_equal(boxes[0], [12.5, 10.5, 51.5, 51.5])
    np.testing.assert_array_equal(boxes[3], [102, 101, 142, 141])
    np.testing.assert_allclose(scores, [0.64, 0, 0, 1.11, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("threshold", "left"), [(-38.0, 5), (-37.9, 4), (-32.5, 3), (-32.47, 2), (127.0, 2), (128.0, 1)]
)
def test_merging_stops_at_the_threshold(threshold, left):
    # The matches in turn: -37.947, -32.514, -32.474, +127.279.
    assert ops.merge_boxes(WINDOWS, CONFIDENCES, match_threshold=threshold)[2].sum() == left


def _best_first(form):
    """A form that wants sorted boxes, as (boxes, scores, classes, threshold) -> selection."""

    @jax.jit
    def run(boxes, scores, classes, threshold):
        order = jnp.argsort(-scores)  # nan last
        planes = greedy.planes(boxes[order], classes[order])
        alive = form(planes, ~jnp.isnan(scores[order]), threshold)
        first = jnp.argsort(~alive)
        return jnp.where(alive[first], order[first], 0), alive[first]

    return run


@jax.jit
def _most(boxes, scores, classes, threshold):
    rank = greedy.integers_in_order(scores)
    rank = jnp.where(jnp.isnan(scores), jnp.iinfo(rank.dtype).min, rank)
    return greedy.most(greedy.planes(boxes, classes), rank, threshold, SIZE)


def _sweep_of_many_strips(boxes, alive, threshold):
    with mock.patch.object(greedy, "_STRIP", SIZE // 6):
        return greedy._by_sweep(boxes, alive, threshold)


FORMS = {
    "suffix": _best_first(greedy._by_suffix),
    "chunks": _best_first(greedy._by_chunks),
    "sweep": _best_first(greedy._by_sweep),
    "sweep of strips": _best_first(_sweep_of_many_strips),
    "tiles": _best_first(greedy._by_tiles),
    "most": _most,
}


@few
@hypothesis.given(st.data(), st.integers(0, 1000), st.booleans())
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_greedy_suppression(form, data, seed, one_class):
    boxes, scores, classes = scene(seed, extent=400.0 if seed % 3 else 3000.0)
    classes = classes * (not one_class)
    threshold = np.float32(threshold_for(data.draw, boxes))  # is itself, or compared as float32
    want = slow_nms(boxes, scores, float(threshold), classes)
    assert selected(FORMS[form](boxes, scores, classes, threshold)) == [want]


@few
@hypothesis.given(st.data(), st.integers(0, 1000))
def test_nms_keeps_what_the_definition_keeps(data, seed):
    boxes, scores, _ = scene(seed)
    threshold = threshold_for(data.draw, boxes)
    (kept,) = selected(ops.nms(boxes, scores, threshold))
    assert kept == slow_nms(boxes, scores, threshold)
    again = selected(ops.nms(boxes, scores, threshold, valid=np.isin(np.arange(SIZE), kept)))
    assert again == [kept]  # idempotent
    assert selected(ops.nms(boxes, scores, threshold, max_outputs=7)) == [kept[:7]]
    assert selected(ops.nms(boxes, scores, threshold, max_outputs=SIZE // 2)) == [kept[: SIZE // 2]]


def test_long_inputs_choose_the_sweep_or_the_chunks_and_agree():
    scores = np.random.default_rng(0).uniform(size=2100).astype(np.float32)
    for extent in (300.0, 20_000.0):
        boxes, _, _ = scene(2, size=2100, extent=extent)
        assert selected(ops.nms(boxes, scores, 0.4)) == [slow_nms(boxes, scores, 0.4)]


def test_scores_at_the_threshold_do_not_take_part():
    boxes, scores = FIVE[[0, 3, 4]], np.float32([0.5, 0.25, np.nan])
    assert selected(ops.nms(boxes, scores, 0.9, score_threshold=0.25)) == [[0]]


def test_without_a_threshold_soft_nms_takes_every_box():
    boxes, scores = FIVE[[0, 3]], np.float32([0.5, -2])
    assert selected(ops.soft_nms(boxes, scores))[0] == [0]
    assert selected(ops.soft_nms(boxes, scores, score_threshold=None)) == [[0, 1], [0.5, -2]]


def test_a_numpy_integer_is_a_number_of_outputs():
    assert ops.nms(FIVE, FIVE_SCORES, 0.2, max_outputs=np.int64(2))[0].tolist() == [0, 3]


def test_more_outputs_than_boxes_are_padded():
    indices, valid = ops.nms(FIVE, FIVE_SCORES, 0.2, max_outputs=8)
    assert indices.tolist() == [0, 3, 4, 0, 0, 0, 0, 0]
    assert valid.tolist() == [True] * 3 + [False] * 5


def test_double_precision_compares_in_double():
    # IoU 0.3 of doubles is below float32(0.3), above 0.3 - 1e-12 and not above 0.3.
    boxes, scores = np.array([[0.0, 0, 10, 1], [0, 0, 3, 1]]), np.array([0.9, 0.8])
    with jax.enable_x64(True):
        assert selected(ops.nms(boxes, scores, 0.3)) == [[0, 1]]
        assert selected(ops.nms(boxes, scores, 0.3 - 1e-12)) == [[0]]
        assert selected(ops.nms(np.float32(boxes), scores, 0.3)) == [[0]]


def test_half_precision_is_computed_in_float32():
    boxes, scores = FIVE.astype(jnp.bfloat16), FIVE_SCORES.astype(jnp.bfloat16)
    assert selected(ops.nms(boxes, scores, 0.2)) == [[0, 3, 4]]
    _, taken, _ = ops.soft_nms(boxes, scores)
    merged, _, _ = ops.merge_boxes(boxes, scores)
    assert taken.dtype == merged.dtype == jnp.bfloat16


# One call of each on a batch of the same shape, so that every way to run it can be compared.
CALLS = {
    "nms": lambda b, s: ops.nms(b, s, 0.3),
    "nms, best": lambda b, s: ops.nms(b, s, 0.3, max_outputs=4),
    "batched_nms": lambda b, s: ops.batched_nms(b, s, (10 * s).astype(jnp.int32), 0.3),
    "soft_nms": lambda b, s: ops.soft_nms(b, s, method="gaussian"),
    "merge_boxes": ops.merge_boxes,
}


def batch_of_two():
    boxes, scores, _ = (np.stack(a) for a in zip(scene(4, 40, 100.0), scene(6, 40, 100.0)))
    return np.where(np.isfinite(boxes), boxes, 0), np.nan_to_num(scores, neginf=0)


@pytest.mark.parametrize("name", CALLS)
def test_every_way_to_run_agrees(name):
    call, (boxes, scores) = CALLS[name], batch_of_two()
    with jax.numpy_rank_promotion("raise"):
        alone = [call(b, s) for b, s in zip(boxes, scores)]
        want = jax.tree.map(lambda *a: np.stack(a), *alone)
        compiled = jax.jit(jax.vmap(call))
        ways = {
            "jit of vmap": compiled(boxes, scores),
            "pmap": jax.pmap(call, devices=jax.devices()[:2])(boxes, scores),
        }
        compiled(boxes + 1, scores)
        assert compiled._cache_size() == 1
        assert not call(boxes[0, :0], scores[0, :0])[-1].any()
        assert call(FIVE[:1], FIVE_SCORES[:1])[-1].tolist()[0]
    for way in ways.values():
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), way, want)


def test_one_compilation_serves_all_thresholds():
    call = jax.jit(lambda b, s, t: ops.nms(b, s, t))
    kept = [int(call(FIVE, FIVE_SCORES, t)[1].sum()) for t in (0.05, 0.2, 0.35, 0.5)]
    assert kept == [2, 3, 4, 5]
    assert call._cache_size() == 1


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_gradients_equal_finite_differences(method):
    rng = np.random.default_rng(0)
    boxes, scores, _ = scene(6, 40, 100.0)
    boxes, scores = np.float64(boxes[rng.permutation(40)]), rng.uniform(0.3, 1, 40)
    boxes = boxes[np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > boxes[:, 0])][:12]
    scores, weights = scores[: len(boxes)], rng.normal(size=len(boxes))
    directions = rng.normal(size=boxes.shape), rng.normal(size=scores.shape)

    def total(boxes, scores):
        return ops.soft_nms(boxes, scores, method=method, iou_threshold=0.0)[1] @ weights

    with jax.enable_x64(True):
        gradients = jax.grad(total, (0, 1))(boxes, scores)
        got = sum((g * d).sum() for g, d in zip(gradients, directions))
        step = [1e-6 * d for d in directions]
        want = total(boxes + step[0], scores + step[1]) - total(boxes - step[0], scores - step[1])
        np.testing.assert_allclose(float(got), float(want) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["soft_nms", "merge_boxes"])
def test_gradients_are_finite_at_degenerate_boxes(name):
    boxes = np.zeros((6, 4), np.float32)
    boxes[3:] = [[0, 0, 2, 2], [0, 0, 2, 2], [2, 2, 0, 0]]
    scores = np.float32([0.5, 0.5, np.nan, 0.5, 0.5, 0.5])
    total = lambda b, s: sum(jnp.sum(x) for x in CALLS[name](b, s) if x.dtype == jnp.float32)  # noqa: E731
    gradients = jax.grad(total, (0, 1))(boxes, scores)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["soft_nms", "merge_boxes"])
def test_a_box_that_is_not_finite_takes_no_part_and_spoils_no_other(name, bad):
    boxes = np.concatenate([[[bad, 0, 4, 4]], FIVE]).astype(np.float32)
    scores = np.concatenate([[1], FIVE_SCORES]).astype(np.float32)

    def run(boxes, scores):
        *outputs, valid = CALLS[name](boxes, scores)
        return sum(jnp.sum(x) for x in outputs if x.dtype == jnp.float32), (outputs, valid)

    run = jax.value_and_grad(run, (0, 1), has_aux=True)
    ((got, (outputs, _)), gradients), ((want, _), wanted) = (
        run(boxes, scores),
        run(FIVE, FIVE_SCORES),
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)
    for gradient, expected in zip(gradients, wanted):
        assert not gradient[0].any()
        np.testing.assert_allclose(gradient[1:], expected, rtol=1e-6)
    if name == "merge_boxes":
        assert not outputs[0][0].any()


def test_merging_passes_gradients_to_the_merged():
    # Of three boxes two merge: each gives half of every side and its whole score.
    boxes = np.float32([[0, 0, 4, 4], [90, 90, 94, 94], [1, 0, 5, 4]])
    gradients = jax.grad(
        lambda b, s: (lambda m: m[0][0].sum() + 3 * m[1][0])(ops.merge_boxes(b, s)), (0, 1)
    )(boxes, np.ones(3, np.float32))
    np.testing.assert_array_equal(gradients[0][:, 0], [0.5, 0, 0.5])
    np.testing.assert_array_equal(gradients[1], [3, 0, 3])


def test_nms_stands_in_a_differentiated_function():
    def best(boxes):
        indices, valid = ops.nms(boxes, FIVE_SCORES, 0.3)
        return jnp.where(valid, boxes[indices, 2], 0).sum()

    np.testing.assert_array_equal(jax.grad(best)(FIVE)[:, 2], [1, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((2, 3, 4)), np.zeros(3), 0.5), {}, r"boxes must be \[N, 4\].*\[2, 3, 4\].*vmap"),
        ((np.zeros((3, 4), int), np.zeros(3), 0.5), {}, r"boxes must be \[N, 4\] float.*int"),
        ((np.zeros((3, 4)), np.zeros(2), 0.5), {}, r"scores must be \[3\] float.*got \[2\]"),
        ((np.zeros((3, 4)), np.zeros(3), 1.5), {}, r"iou_threshold must be from 0 to 1, got 1.5"),
        ((np.zeros((3, 4)), np.zeros(3), 0.5), {"max_outputs": -1}, r"max_outputs must be.*-1"),
        ((np.zeros((3, 4)), np.zeros(3), 0.5), {"max_outputs": 2.0}, r"max_outputs must be.*2\.0"),
        ((np.zeros((3, 4)), np.zeros(3), 0.5), {"valid": np.ones(3)}, r"valid must be \[3\] bool"),
    ],
)
def test_nms_names_the_wrong_argument(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ops.nms(*arguments, **options)


def test_the_others_name_the_wrong_argument():
    with pytest.raises(ValueError, match=r"classes must be \[5\] int.*float32"):
        ops.batched_nms(FIVE, FIVE_SCORES, FIVE_SCORES, 0.5)
    with pytest.raises(ValueError, match=r"method must be 'linear' or 'gaussian', got 'hard'"):
        ops.soft_nms(FIVE, FIVE_SCORES, method="hard")
    with pytest.raises(ValueError, match=r"sigma must be above 0, got 0"):
        ops.soft_nms(FIVE, FIVE_SCORES, method="gaussian", sigma=0)
