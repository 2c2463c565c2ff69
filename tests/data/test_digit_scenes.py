import functools
import pickle
import types

import numpy as np
import pytest

from jaxcv.data import digit_scenes, digits

CLEAN = {"strokes": 0, "noise": 0.0, "background": 0.0, "ink": 1.0, "colour": False}
HARD = {"image_size": 48, "min_objects": 6, "max_objects": 8, "rotation": 180.0, "truncation": 0.4}


def config(**changes):
    fields = vars(digit_scenes.Options()) | {"seed": 3, "train_size": 20, "test_size": 7} | changes
    return types.SimpleNamespace(**fields)


@functools.cache
def hard_scenes():
    """Crowded, turned and truncated: every rule of the ground truth is at work in them."""
    return [digit_scenes.scene(index, **HARD) for index in range(40)]


def own_size(index, split="train"):
    """A scene without a choice but the digit, which fills it, that digit's ink and its label."""
    options = {"max_objects": 1, "min_scale": 8, "max_scale": 8, "rotation": 0, **CLEAN}
    scene = digit_scenes.scene(index, split=split, image_size=8, **options)
    images, labels = digits.arrays(split)
    ink = images / 255
    number = np.abs(ink - scene["image"][..., 0] / 255).sum(axis=(1, 2)).argmin()
    return scene, ink[number], labels[number]


def instances(scenes):
    return [(scene, i) for scene in scenes for i in np.flatnonzero(scene["valid"])]


def assert_equal(scene1, scene2):
    assert scene1.keys() == scene2.keys()
    for name in scene1:
        np.testing.assert_array_equal(scene1[name], scene2[name], err_msg=name)


def test_a_scene_is_a_function_of_seed_split_and_index():
    again = digit_scenes.scene(5, seed=1, split="train")
    assert_equal(digit_scenes.scene(5, seed=1, split="train"), again)
    for other in ({"index": 6}, {"seed": 2}, {"split": "test"}):
        changed = digit_scenes.scene(**({"index": 5, "seed": 1, "split": "train"} | other))
        assert (changed["image"] != again["image"]).any(), other


def test_random_access_equals_sequential_reading():
    source = digit_scenes.source(config(), "train", image_size=64, channels=3)
    order = np.array([4, 0, 3, 3, 1])
    elsewhere = pickle.loads(pickle.dumps(source.read))  # as a worker process gets it
    shuffled, sequential = elsewhere(order), source.read(np.arange(5))
    for name, array in sequential.items():
        np.testing.assert_array_equal(shuffled[name], array[order], err_msg=name)


def test_the_source_reads_batches_of_scenes():
    source = digit_scenes.source(config(max_objects=5), "test", image_size=40, channels=3)
    assert (source.name, source.split, source.size) == ("digit_scenes", "test", 7)
    assert source.example_name(6) == "digit_scenes/test/6"
    assert source.class_names[3] == "3"
    batch = source.read([2, 6])
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "image": ("uint8", (2, 40, 40, 3)),
        "boxes": ("float32", (2, 5, 4)),
        "classes": ("int32", (2, 5)),
        "masks": ("bool", (2, 5, 40, 40)),
        "segments": ("int32", (2, 40, 40)),
        "keypoints": ("float32", (2, 5, 4, 3)),
        "valid": ("bool", (2, 5)),
    }
    alone = digit_scenes.scene(6, seed=3, split="test", image_size=40, channels=3, max_objects=5)
    assert_equal({name: array[1] for name, array in batch.items()}, alone)


@pytest.mark.parametrize("split", digits.SPLITS)
def test_a_digit_at_its_own_size_is_its_own_image(split):
    for index in range(20):
        scene, ink, label = own_size(index, split)
        # The outline is where a pixel is half covered.
        drawn = np.clip(ink + 0.5 - digit_scenes.OUTLINE, 0, 1)
        np.testing.assert_allclose(scene["image"][..., 0] / 255, drawn, atol=0.6 / 255)
        np.testing.assert_array_equal(scene["masks"][0], ink >= digit_scenes.OUTLINE)
        assert scene["classes"][0] == label


def test_keypoints_are_the_outermost_solid_ink():
    for index in range(20):
        scene, ink, _ = own_size(index)
        solid = ink >= digit_scenes.SOLID
        rows, columns = np.nonzero(solid)
        keypoints = scene["keypoints"][0]
        top, bottom, left, right = keypoints[:, :2] - 0.5  # cells whose centres they are
        assert (top[1], bottom[1]) == (rows.min(), rows.max())
        assert (left[0], right[0]) == (columns.min(), columns.max())
        assert all(solid[int(y), int(x)] for x, y in (top, bottom, left, right))
        assert (keypoints[:, 2] == 2).all()


def test_each_box_is_tight_around_its_mask():
    for scene, i in instances(hard_scenes()):
        x1, y1, x2, y2 = scene["boxes"][i].astype(int)
        np.testing.assert_array_equal(scene["boxes"][i], [x1, y1, x2, y2])
        inside = scene["masks"][i, y1:y2, x1:x2]
        assert inside.sum() == scene["masks"][i].sum() > 0
        sides = inside[0], inside[-1], inside[:, 0], inside[:, -1]
        assert all(side.any() for side in sides)


def test_masks_are_disjoint_and_make_up_the_segments():
    for scene in hard_scenes():
        assert scene["masks"].sum(axis=0).max() == 1
        digit = scene["classes"][scene["masks"].argmax(axis=0)]
        expected = np.where(scene["masks"].any(axis=0), 1 + digit, 0)
        np.testing.assert_array_equal(scene["segments"], expected)


def test_keypoints_are_on_the_digit():
    apart = {"max_overlap": 0.0, "max_objects": 4, "rotation": 180.0}
    for scene, i in instances([digit_scenes.scene(index, **apart) for index in range(40)]):
        rows, columns = np.nonzero(scene["masks"][i])
        for x, y, visibility in scene["keypoints"][i]:
            assert visibility == 2
            assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).min() <= 1


def test_hidden_keypoints_are_under_a_digit_in_front_or_outside():
    hidden = outside = 0
    for scene, i in instances(hard_scenes()):
        size = len(scene["segments"])
        in_front = scene["masks"][i + 1 :].any(axis=0)
        for x, y, visibility in scene["keypoints"][i]:
            inside = 0 <= x < size and 0 <= y < size
            covered = inside and in_front[int(y), int(x)]
            assert visibility == (2 if inside and not covered else 1)
            hidden += covered
            outside += not inside
    assert hidden > 10
    assert outside > 10


def test_rows_without_a_digit_are_zero():
    for scene in hard_scenes():
        empty = ~scene["valid"]
        assert not np.any(empty[:-1] > empty[1:])  # the digits come first
        for name in ("boxes", "classes", "masks", "keypoints"):
            assert not scene[name][empty].any()


def test_keypoints_turn_with_the_digit():
    options = {"max_objects": 1, "min_scale": 20, "max_scale": 20, **CLEAN}
    moved = 0
    for index in range(8):
        # The same digit at two rotations: its points keep their distances, not their directions.
        points = [
            digit_scenes.scene(index, rotation=rotation, **options)["keypoints"][0, :, :2]
            for rotation in (0, 180)
        ]
        arrows = [p[:, None] - p for p in points]  # [K, K, 2] from each point to each
        upright, turned = (np.linalg.norm(a, axis=-1) for a in arrows)
        np.testing.assert_allclose(upright, turned, atol=1e-4)
        moved = max(moved, np.abs(arrows[0] - arrows[1]).max())
    assert moved > 20  # pixels, in the digit that turned most


def test_the_number_of_digits_stays_within_its_limits():
    counts = {
        int(digit_scenes.scene(i, min_objects=2, max_objects=4, min_visible=0.1)["valid"].sum())
        for i in range(40)
    }
    assert counts == {2, 3, 4}
    assert not digit_scenes.scene(0, min_objects=0, max_objects=1)["boxes"].any(axis=-1).all()


def test_digits_without_overlap_have_disjoint_boxes():
    options = {"min_objects": 4, "max_objects": 4, "min_scale": 10, "max_scale": 12}
    for index in range(10):
        x1, y1, x2, y2 = digit_scenes.scene(index, max_overlap=0, **options)["boxes"].T
        apart = (x1[:, None] >= x2) | (x2[:, None] <= x1) | (y1[:, None] >= y2)
        apart |= (y2[:, None] <= y1) | np.eye(4, dtype=bool)
        assert apart.all()


def test_min_visible_bounds_what_is_hidden():
    options = {"min_objects": 6, "max_objects": 6, "max_overlap": 1.0}
    whole = [digit_scenes.scene(i, min_visible=1.0, **options) for i in range(10)]
    for scene, i in instances(whole):
        assert (scene["keypoints"][i, :, 2] == 2).all()
    anything = [digit_scenes.scene(i, min_visible=0.1, **options) for i in range(10)]
    seen = [(scene["keypoints"][i, :, 2] == 2).all() for scene, i in instances(anything)]
    assert not all(seen)


def test_scale_sets_the_size_of_digits():
    # 8 rows of ink at 40 pixels a digit: boxes are at most 40 and a cell high; at 10, 12.5.
    small, large = (
        np.concatenate(
            [
                digit_scenes.scene(i, max_objects=1, min_scale=scale, max_scale=scale, rotation=0)[
                    "boxes"
                ]
                for i in range(10)
            ]
        )
        for scale in (10, 40)
    )
    assert (small[:, 3] - small[:, 1]).max() <= 13
    assert (large[:, 3] - large[:, 1]).min() >= 25


def test_without_clutter_the_background_is_black():
    scene = digit_scenes.scene(0, min_scale=16, **CLEAN)
    outside = scene["segments"] == 0
    assert np.median(scene["image"][outside]) == 0
    assert scene["image"][~outside].min() >= 127  # at least half covered by white ink


@pytest.mark.parametrize(("option", "value"), [("strokes", 6), ("noise", 0.1), ("background", 0.8)])
def test_clutter_changes_the_background_and_not_the_truth(option, value):
    plain = digit_scenes.scene(2, **CLEAN)
    cluttered = digit_scenes.scene(2, **(CLEAN | {option: value}))
    outside = plain["segments"] == 0
    changed = (plain["image"] != cluttered["image"])[outside].mean()
    assert changed > (0.01 if option == "strokes" else 0.3)
    del plain["image"], cluttered["image"]
    assert_equal(plain, {name: cluttered[name] for name in plain})


def test_ink_is_brighter_than_the_background():
    options = CLEAN | {"background": 0.4, "ink": 0.9}
    for index in range(10):
        scene = digit_scenes.scene(index, channels=3, **(options | {"colour": True}))
        brightness = scene["image"].max(axis=-1) / 255
        assert np.median(brightness[scene["segments"] == 0]) <= 0.41
        for i in np.flatnonzero(scene["valid"]):
            assert brightness[scene["masks"][i]].max() >= 0.89


def test_colour_is_an_option():
    grey, coloured = (digit_scenes.scene(0, channels=3, colour=c, noise=0.0) for c in (False, True))
    assert (grey["image"].min(axis=-1) == grey["image"].max(axis=-1)).all()
    assert (coloured["image"].min(axis=-1) < coloured["image"].max(axis=-1)).mean() > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "split must be one of train, test, got 'val'"),
        ({"channels": 4}, "channels must be 1 or 3, got 4"),
        ({"index": -1}, "index and seed must be 0 or more, got -1 and 0"),
        ({"rotatoin": 3}, "no option 'rotatoin'. Nearest: rotation"),
        ({"min_objects": 5}, "min_objects must be within 0 and 4, got 5"),
        ({"max_objects": 0}, "max_objects must be within 1 and inf, got 0"),
        ({"min_scale": 4}, "min_scale must be within 8 and 32, got 4"),
        ({"rotation": 200}, "rotation must be within 0 and 180, got 200"),
        ({"background": 0.8}, "ink must be within 0.8 and 1, got 0.7"),
        # 32 pixels turned by 15 degrees: 32 (cos 15 + sin 15) = 39.2.
        ({"image_size": 39}, "image_size must be at least 40 .* got 39. Lower max_scale"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        digit_scenes.scene(**({"index": 0} | arguments))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_size": 0}, "train_size must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"max_overlap": 2}, "max_overlap must be within 0 and 1, got 2"),
    ],
)
def test_a_bad_config_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        digit_scenes.source(config(**changes), "train", image_size=64, channels=1)
