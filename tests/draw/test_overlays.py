import numpy as np
import pytest

from jaxcv import draw
from jaxcv.draw import picture

BLACK = np.zeros((8, 8, 1), np.uint8)


def coloured(drawn, index):
    """Where a picture has the colour of class or instance `index`."""
    return (drawn == picture.colour(index)).all(axis=-1)


def test_a_box_frames_the_pixels_within_it():
    # x from 1 to 5, y from 2 to 4: columns 1..4 and rows 2..3, all of them on the frame.
    drawn = draw.boxes(BLACK, [[1, 2, 5, 4]])
    expected = np.zeros((8, 8), bool)
    expected[2:4, 1:5] = True
    np.testing.assert_array_equal(coloured(drawn, 0), expected)
    assert not drawn[~expected].any()
    assert drawn.dtype == np.uint8
    assert drawn.shape == (8, 8, 3)


def test_a_box_is_scaled_with_its_enlarged_image():
    drawn = draw.boxes(draw.enlarge(BLACK, 4), [[1, 1, 3, 3]], scale=4)
    rows, columns = np.nonzero(coloured(drawn, 0))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 4, 11)
    assert not drawn[5:11, 5:11].any()


def test_boxes_that_are_not_valid_or_not_finite_are_not_drawn():
    boxes = [[0, 0, 3, 3], [2, 2, 6, np.nan], [1, 1, 5, 5]]
    assert not draw.boxes(BLACK, boxes, valid=[False, True, False]).any()


def test_a_box_may_reach_beyond_any_image():
    drawn = draw.boxes(BLACK, [[2, -1e30, 1e30, 1e30]])
    np.testing.assert_array_equal(np.flatnonzero(coloured(drawn, 0).all(axis=0)), [2])
    assert draw.boxes(BLACK, [[6, 6, 2, 2]]).shape == (8, 8, 3)  # corners swapped: a dot


def test_boxes_of_a_class_share_a_colour_and_carry_its_name():
    image = np.zeros((100, 100, 3), np.uint8)
    boxes = [[10, 40, 30, 60], [50, 40, 90, 60]]
    plain = draw.boxes(image, boxes, classes=[3, 3])
    assert coloured(plain, 3)[60 - 1, [10, 50]].all()
    names, other = (
        draw.boxes(image, boxes, classes=[0, 1], class_names=names, scores=[0.5, 0.25])
        for names in (["cat", "dog"], ["cow", "dog"])
    )
    changed = np.argwhere((names != other).any(axis=-1))
    assert len(changed)
    # In the strip above the first box, whose upper edge is at 40.
    assert changed[:, 0].max() < 40
    assert changed[:, 1].max() < 50


def test_a_mask_is_tinted_and_outlined():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 1:6, 1:6] = True
    drawn = draw.masks(BLACK, mask, opacity=0.5)
    edge = mask[0].copy()
    edge[2:5, 2:5] = False
    np.testing.assert_array_equal(coloured(drawn, 0), edge)
    half = np.rint(0.5 * np.array(picture.colour(0)))
    assert (drawn[2:5, 2:5] == half).all()
    assert not drawn[~mask[0]].any()


def test_masks_may_be_scores_and_smaller_than_the_image():
    mask = np.full((2, 4, 4), 0.4)
    mask[1, :, 2:] = 0.6
    drawn = draw.masks(BLACK, mask, classes=[5, 6], scale=2)
    assert not drawn[:, :4].any()
    assert coloured(drawn, 6)[:, 4].all()  # the outline; along the image's edges there is none
    assert not coloured(drawn, 6)[:, 5:].any()
    assert not draw.masks(BLACK, mask, valid=[True, False], scale=2).any()


def test_seen_keypoints_are_dots_and_hidden_ones_rings():
    image = np.zeros((200, 200, 1), np.uint8)  # dots have radius 2
    keypoints = np.array([[[50.5, 20.5, 2], [20.5, 90.5, 1], [150, 150, 0]]])
    drawn = draw.keypoints(image, keypoints)
    assert coloured(drawn, 0)[20, 50]
    assert not drawn[90, 20].any()
    assert coloured(drawn, 1)[90, [18, 22]].all()
    assert not drawn[120:].any()


def test_edges_join_keypoints_that_are_not_absent():
    image = np.zeros((200, 200, 1), np.uint8)
    keypoints = np.array([[[20, 20, 2], [60, 20, 2], [20, 120, 0], [np.nan, 90, 2]]])
    drawn = draw.keypoints(image, keypoints, edges=[(0, 1), (0, 2), (1, 3)])
    assert coloured(drawn, 0)[19:21, 30:50].any(axis=0).all()
    assert not drawn[40:].any()


def test_segments_tint_every_class_but_the_background():
    segments = np.zeros((8, 8), np.int32)
    segments[0, 0], segments[1, 1] = 3, 255
    drawn = draw.segments(BLACK, segments, opacity=1)
    assert coloured(drawn, 3)[0, 0]
    assert (drawn[1, 1] == 128).all()
    assert np.count_nonzero(drawn.any(axis=-1)) == 2
    assert draw.segments(BLACK, segments, background=None).any(axis=-1).all()


def test_heat_goes_from_blue_through_green_to_red():
    drawn = draw.heat(BLACK, [[-1.0, 0.0, 1.0]], opacity=1).astype(int)
    assert drawn.shape == (8, 8, 3)
    assert (drawn == drawn[:1]).all()  # the map has one row
    assert np.argmax(drawn[0, 3]) == 1
    assert drawn[0, -1, 0] > 2 * drawn[0, -1, 1:].max()
    assert drawn[0, 0, 2] > drawn[0, 0, :2].max()
    half = draw.heat(BLACK, [[-1.0, 0.0, 1.0]])
    # Both are rounded: half a level here, and half of one there is a quarter.
    np.testing.assert_allclose(half, drawn / 2, atol=0.75)


def test_limits_of_heat_make_maps_comparable():
    full, part = (draw.heat(BLACK, [[0, high]], limits=(0, 2)) for high in (2.0, 1.0))
    np.testing.assert_array_equal(part[:, :2], full[:, :2])
    assert (part[:, -1] != full[:, -1]).any()
    flat = draw.heat(BLACK, np.ones((2, 2)))  # no extremes to scale by
    assert (flat == flat[0, 0]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw.boxes(BLACK, np.zeros((2, 3))), r"boxes must be \[any, 4\], got \[2, 3\]"),
        (
            lambda: draw.boxes(BLACK, np.zeros((2, 4)), scores=[1.0]),
            r"scores must be \[2\], got \[1\]",
        ),
        (
            lambda: draw.masks(BLACK, np.zeros((1, 4, 4)), scale=4),
            r"masks must be \[any, 2, 2\], got \[1, 4, 4\]",
        ),
        (
            lambda: draw.keypoints(BLACK, np.zeros((2, 3))),
            r"keypoints must be \[any, any, 3\], got \[2, 3\]",
        ),
        (
            lambda: draw.segments(BLACK, np.zeros((4, 4))),
            r"segments must be \[8, 8\], got \[4, 4\]. .*`scale` times",
        ),
        (lambda: draw.heat(BLACK, np.full((2, 2), np.nan)), "values must be finite"),
    ],
)
def test_wrong_shapes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
