import numpy as np
import pytest

from jaxcv import draw
from jaxcv.draw import picture

GREY = np.full((8, 8, 1), 100, np.uint8)


def has(sheet, colour):
    return (sheet == colour).all(axis=-1)


def test_a_digit_is_enlarged_to_whole_squares():
    # 40 pixels hold an 8x8 image 5 times as large; the paper around it is 10 wide.
    image = np.zeros((8, 8, 1), np.uint8)
    image[2, 3] = 200
    sheet = draw.grid([image], cell=40)
    assert sheet.shape == (60, 60, 3)
    assert sheet.dtype == np.uint8
    rows, columns = np.nonzero(has(sheet, 200))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 24, 25, 29)
    assert (sheet[:10] == 255).all()


def test_images_fill_rows_of_the_columns_asked_for():
    sheet = draw.grid([GREY] * 5, columns=3, cell=40)
    assert sheet.shape == (10 + 2 * 50, 10 + 3 * 50, 3)
    assert has(sheet, 100).sum() == 5 * 40 * 40
    assert not has(sheet[60:], 100)[:, 110:].any()  # the sixth cell is empty


def test_a_large_image_is_shrunk_to_its_cell():
    sheet = draw.grid([np.full((300, 100, 3), 0.5)], cell=60)
    rows, columns = np.nonzero(has(sheet, 128))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (60, 20)


def test_right_and_wrong_have_their_colours():
    sheet = draw.grid([GREY, GREY], captions=["3", "5"], correct=[True, False], cell=40)
    left, right = sheet[:, :55], sheet[:, 55:]
    assert has(left, picture.RIGHT).any()
    assert not has(left, picture.WRONG).any()
    assert has(right, picture.WRONG).any()
    assert not has(right, picture.RIGHT).any()


def test_captions_are_written_below():
    plain, captioned = draw.grid([GREY], cell=40), draw.grid([GREY], captions=["a 7"], cell=40)
    assert len(captioned) > len(plain)
    np.testing.assert_array_equal(captioned[:50], plain[:50])
    assert (captioned[50:] < 128).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "images must hold at least one image"),
        (
            {"images": [GREY], "captions": ["a", "b"]},
            r"captions must be as many as images \(1\), got 2",
        ),
        ({"images": [GREY], "correct": []}, r"correct must be as many as images \(1\), got 0"),
        ({"images": [GREY, GREY[0]]}, r"images\[1\] must be \[H, W, 1\]"),
        ({"images": [GREY], "columns": -1}, "columns must be 1 or more, got -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw.grid(**arguments)
