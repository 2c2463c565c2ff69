import numpy as np
import pytest
from PIL import Image

from jaxcv import draw
from jaxcv.draw import picture


def test_every_image_becomes_three_bytes_a_pixel():
    grey = np.array([[0.0, 0.5, 1.0]])[..., None]
    np.testing.assert_array_equal(
        picture.as_picture(grey), [[[0, 0, 0], [128, 128, 128], [255, 255, 255]]]
    )
    colour = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(picture.as_picture(colour), colour)


def test_a_picture_is_not_the_image_itself():
    image = np.zeros((2, 2, 3), np.uint8)
    picture.as_picture(image)[:] = 7
    assert not image.any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2)), r"image must be \[H, W, 1\] or \[H, W, 3\], got \[2, 2\]"),
        (np.zeros((1, 2, 2, 3)), r"got \[1, 2, 2, 3\]. Draw the images of a batch one by one"),
        (np.zeros((0, 2, 3)), r"got \[0, 2, 3\]"),
        (np.full((1, 1, 1), 17.0), "within 0..1 as it is float, got 17..17"),
        (np.full((1, 1, 1), np.nan), "within 0..1 as it is float, got nan"),
        (np.zeros((1, 1, 1), np.int32), "must be uint8 or float 0..1, got int32"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        picture.as_picture(image)


def test_enlarge_makes_a_square_of_each_pixel():
    image = np.array([[1, 2]], np.uint8)[..., None]
    enlarged = draw.enlarge(image, 2)
    np.testing.assert_array_equal(enlarged[..., 0], [[1, 1, 2, 2], [1, 1, 2, 2]])
    assert enlarged.shape == (2, 4, 3)


@pytest.mark.parametrize("factor", [0, -2, 1.5])
def test_enlarge_refuses_other_factors(factor):
    with pytest.raises(ValueError, match=f"factor must be a whole number from 1 on, got {factor}"):
        draw.enlarge(np.zeros((1, 1, 1)), factor)


def test_a_saved_picture_is_read_back(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    path = tmp_path / "pictures" / "deep" / "a.png"
    draw.save(path, np.zeros((2, 2, 3), np.uint8))
    draw.save(path, image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_picture_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    draw.save(path, np.full((2, 2, 3), 9, np.uint8))
    with pytest.raises(ValueError, match="picture must be"):
        draw.save(path, np.zeros((2, 2)))
    assert (np.asarray(Image.open(path)) == 9).all()
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_only_png_files_are_written(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.png, got .*a\.jpg"):
        draw.save(tmp_path / "a.jpg", np.zeros((2, 2, 3), np.uint8))


def test_the_first_colours_differ():
    colours = np.array([picture.colour(i) for i in range(20)], int)
    distance = np.abs(colours[:, None] - colours).sum(axis=-1)
    assert distance[~np.eye(20, dtype=bool)].min() > 40


def test_text_is_cut_to_its_width():
    assert picture.fit_text("cat", 100) == "cat"
    cut = picture.fit_text("a" * 100, 60)
    assert cut.endswith("a…")
    assert picture.text_width(cut) <= 60 < picture.text_width("a" + cut)


@pytest.mark.parametrize("upwards", [False, True])
def test_text_lies_where_its_anchor_says(upwards):
    canvas = Image.new("RGB", (60, 60), picture.PAPER)
    picture.write(canvas, "HHHH", 30, 30, anchor="mm", upwards=upwards)
    rows, columns = np.nonzero(np.asarray(canvas).min(axis=-1) < 128)
    middle = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    np.testing.assert_allclose(middle, (30, 30), atol=1.5)
    assert (np.ptp(rows) > np.ptp(columns)) == upwards
