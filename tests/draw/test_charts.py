import math

import numpy as np
import pytest

from jaxcv import draw
from jaxcv.draw import charts, picture

ROWS = [
    {"step": 0, "split": "train", "loss": 2.0},
    {"step": 10, "split": "train", "loss": 1.0},
    {"step": 10, "split": "test", "loss": 1.5, "top1": 0.5},
    {"step": 20, "split": "train", "loss": math.nan},
]


def has(picture, colour):
    return (picture == colour).all(axis=-1)


def test_a_confusion_matrix_shades_each_row_by_its_shares():
    # Row 0: all 4 right, full colour. Row 1: none. Row 2: 1 of 4 to column 0, 3 of 4 right.
    drawn = draw.confusion_matrix([[4, 0, 0], [0, 0, 0], [1, 0, 3]], ["a", "b", "c"])
    assert drawn.dtype == np.uint8
    rows, columns = np.nonzero(has(drawn, charts.FULL))
    top, left = rows.min() - 1, columns.min() - 1  # a cell is 40 wide and starts with a line
    cells = [[drawn[top + 40 * i + 3, left + 40 * j + 3] for j in range(3)] for i in range(3)]
    quarter = 255 + 0.25 * (np.array(charts.FULL) - 255)
    np.testing.assert_array_equal(cells[0][0], charts.FULL)
    np.testing.assert_array_equal(cells[1], np.full((3, 3), 255))
    np.testing.assert_allclose(cells[2][0], quarter, atol=1)
    np.testing.assert_array_equal(cells[2][1], [255, 255, 255])


def test_many_classes_are_shaded_without_writing():
    drawn = draw.confusion_matrix(np.eye(400), ["long name"] * 400)
    assert has(drawn, charts.FULL).sum() == 400 * 2 * 2
    assert max(drawn.shape) < 900


def test_long_names_are_written_upwards():
    short, long = (draw.confusion_matrix(np.eye(2), [n, n]) for n in ("a", "a long name"))
    assert len(long) > len(short) + 30


def test_curves_have_a_panel_for_each_name():
    one = draw.curves(ROWS, ["loss"])
    two = draw.curves(ROWS, ["loss", "top1"], title="a run")
    assert one.dtype == two.dtype == np.uint8
    assert one.shape == (320, 500, 3)
    assert two.shape == (320, 900, 3)
    blue, orange = (31, 119, 180), (255, 127, 14)
    assert has(one, blue).any()  # train
    assert has(one, orange).any()  # test
    assert not has(two[:, 450:], blue).any()  # top1 is known of test alone


def test_curves_are_the_same_every_time():
    np.testing.assert_array_equal(draw.curves(ROWS, ["top1"]), draw.curves(ROWS, ["top1"]))


def test_bars_are_as_long_as_their_probabilities():
    drawn = draw.bars(np.zeros((8, 8, 1)), [0.1, 0.6, 0.3], ["a", "b", "c"], label=2)
    assert drawn.dtype == np.uint8
    # 220 pixels are 100 %: b 132 and a 22 red, c 66 green, each 8 high.
    assert has(drawn, picture.WRONG).sum() == (132 + 22) * 8
    assert has(drawn, picture.RIGHT).sum() == 66 * 8
    assert has(drawn, picture.WRONG)[: len(drawn) // 3].sum() == 132 * 8  # the likeliest first


def test_bars_show_the_top_alone():
    drawn = draw.bars(np.zeros((8, 8, 1)), [0.4, 0.6, 0.0], ["a", "b", "c"], top=1)
    assert has(drawn, charts.FULL).sum() == 132 * 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: draw.confusion_matrix(np.zeros((2, 2)), ["a"]),
            r"counts must be \[1, 1\].*got \[2, 2\]",
        ),
        (lambda: draw.curves(ROWS, ["los"]), "no row has 'los'. Nearest: loss"),
        (lambda: draw.curves(ROWS, []), "names must hold at least one of loss, top1"),
        (lambda: draw.curves([], ["loss"]), "no row has 'loss'. .*none at all"),
        (
            lambda: draw.bars(np.zeros((8, 8, 1)), [0.5], ["a", "b"]),
            r"probabilities must be \[2\].*got \[1\]",
        ),
        (
            lambda: draw.bars(np.zeros((8, 8, 1)), [3.0, -1.0], ["a", "b"]),
            "within 0..1. Give softmax",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
