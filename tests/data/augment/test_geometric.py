import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.ndimage import map_coordinates

from jaxcv.data import augment
from jaxcv.data.augment import geometric

SIZE = 32


def make_example():
    """A picture whose two channels say each pixel's own x and y, and a box with its mask."""
    y, x = np.indices((SIZE, SIZE), dtype=np.float32) + 0.5
    box = np.array([10.0, 12, 22, 18], np.float32)
    mask = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
    return {
        "image": jnp.array(np.stack([x, y], axis=-1) / SIZE),
        "boxes": jnp.array([box, np.zeros(4)], jnp.float32),
        "valid": jnp.array([True, False]),
        "masks": jnp.array([mask, np.zeros_like(mask)]),
        "segments": jnp.array(mask, jnp.int32),
        "keypoints": jnp.array(
            [[[10.5, 12.5, 2], [21.5, 12.5, 1], [16, 15, 2], [0, 0, 0]], [[0, 0, 0]] * 4],
            jnp.float32,
        ),
        "label": jnp.array(7),
    }


def small_image(height=4, width=6):
    return jax.random.uniform(jax.random.key(0), (height, width, 3))


@functools.partial(jax.jit, static_argnames=("output_size", "padding_mode", "min_visible"))
def transform(example, matrix, **options):
    return augment.transform(example, matrix, **options)


@jax.jit
def look_at(image, place):
    """What the picture shows at x, y, by jax's own interpolation."""
    return jnp.stack([map_coordinates(image[..., c], place[::-1] - 0.5, 1) for c in (0, 1)])


def assert_equal(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_identity_returns_every_entry_to_the_bit():
    example = make_example()
    assert_equal(transform(example, jnp.eye(3)), example)


def test_flip_by_matrix_equals_reversal():
    image = small_image()
    matrix = jnp.array([[-1.0, 0, 6], [0, 1, 0], [0, 0, 1]])
    assert_equal(transform({"image": image}, matrix)["image"], image[:, ::-1])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    image = small_image(5, 5)
    matrix = augment.affine_matrix((5, 5), degrees=90.0 * turns)
    # Positive angles turn clockwise as seen, np.rot90 the other way.
    assert_equal(transform({"image": image}, matrix)["image"], np.rot90(image, -turns))


def test_shift_by_whole_pixels_is_exact_and_fills():
    example = {"image": small_image(), "segments": jnp.zeros((4, 6), jnp.int32)}
    matrix = augment.affine_matrix((4, 6), translate=(2.0, 1.0))
    moved = transform(example, matrix, fill=0.5)
    assert_equal(moved["image"][1:, 2:], example["image"][:3, :4])
    assert_equal(moved["image"][:1], np.full((1, 6, 3), 0.5, np.float32))
    assert_equal(moved["segments"][0], np.full(6, 255))
    assert_equal(moved["segments"][1], [255, 255, 0, 0, 0, 0])


def test_reflection_equals_numpy_pad():
    image = small_image()
    matrix = augment.affine_matrix((4, 6), translate=(3.0, 2.0))
    moved = transform({"image": image}, matrix, output_size=(8, 12), padding_mode="reflect")
    assert_equal(moved["image"], np.pad(image, ((2, 2), (3, 3), (0, 0)), "reflect"))


def test_affine_matrix_by_hand():
    # Shear of 45 degrees about the middle (2, 2) moves the top edge right by its height over it.
    sheared = geometric.move_points(
        augment.affine_matrix((4, 4), shear=45.0), jnp.array([[2.0, 0], [2, 2], [2, 4]])
    )
    np.testing.assert_allclose(sheared, [[4, 0], [2, 2], [0, 4]], atol=1e-6)
    # Twice as large, a quarter turn clockwise, then one to the right: right of the middle -> below.
    matrix = augment.affine_matrix((4, 4), degrees=90.0, scale=2.0, translate=(1.0, 0.0))
    assert_equal(geometric.move_points(matrix, jnp.array([3.0, 2])), jnp.array([3.0, 4]))


def test_everything_stays_together_under_50_random_affine_maps():
    example = make_example()

    def draw(key):
        return augment.random_affine(
            key, example, degrees=180, translate=0.5, scale=(0.8, 1.5), shear=15, min_visible=0.5
        )

    moved = jax.device_get(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 50)))
    assert_equal(moved["label"], np.full(50, 7))
    assert 30 < moved["valid"][:, 0].sum() < 50
    seen = compared = 0
    for index in range(50):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], moved)
        # The picture at a moved keypoint names the place where the keypoint was.
        for old, new in zip(example["keypoints"][0], one["keypoints"][0]):
            if new[2] and new[:2].min() > 1 and new[:2].max() < SIZE - 1:
                shown = SIZE * look_at(one["image"], new[:2])
                np.testing.assert_allclose(shown, old[:2], atol=1e-3)
                assert new[2] == old[2]
                seen += 1
        assert_equal(one["segments"] == 1, one["masks"][0])
        # Across the border a turned box is wider than what the canvas shows of its instance.
        if one["valid"][0] and one["boxes"][0].min() > 0 and one["boxes"][0].max() < SIZE:
            compared += 1
            rows, columns = np.nonzero(one["masks"][0])
            around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(one["boxes"][0], around, atol=1.6)
    assert seen > 60
    assert compared > 10
    assert not moved["valid"][:, 1].any()
    assert not moved["boxes"][:, 1].any()


def test_box_that_leaves_is_marked_by_min_visible():
    example = make_example()
    # 12 wide from x = 10: a shift by 16 leaves 6 of 12 on the canvas.
    matrix = augment.affine_matrix((SIZE, SIZE), translate=(16.0, 0.0))
    half = transform(example, matrix, min_visible=0.5)
    assert_equal(half["valid"], [True, False])
    assert_equal(half["boxes"][0], jnp.array([26.0, 12, 32, 18]))
    assert_equal(half["keypoints"][0, :, 2], jnp.array([2.0, 0, 2, 0]))  # x = 26.5, 37.5, 32
    assert_equal(half["keypoints"][0, 1], np.zeros(3, np.float32))
    less = transform(example, matrix, min_visible=0.51)
    assert_equal(less["valid"], [False, False])
    assert_equal(less["boxes"], np.zeros((2, 4), np.float32))


def test_instance_without_a_pixel_of_mask_is_not_valid():
    example = make_example()
    matrix = augment.affine_matrix((SIZE, SIZE), scale=0.01)
    assert not transform(example, matrix)["valid"].any()


@pytest.mark.parametrize("vertical", [False, True])
def test_flip_reverses_and_exchanges_keypoints(vertical):
    example = make_example()
    flip = functools.partial(
        augment.random_flip, probability=1.0, vertical=vertical, keypoint_pairs=((0, 1),)
    )
    flipped = jax.jit(flip)(jax.random.key(0), example)
    axis = 0 if vertical else 1
    assert_equal(flipped["image"], np.flip(example["image"], axis))
    assert_equal(flipped["segments"], np.flip(example["segments"], axis))
    assert_equal(flipped["masks"], np.flip(example["masks"], axis + 1))
    box = [10, 14, 22, 20] if vertical else [10, 12, 22, 18]  # x: 32 - 22, 32 - 10
    assert_equal(flipped["boxes"][0], jnp.array(box, jnp.float32))
    first = [21.5, 19.5, 1] if vertical else [10.5, 12.5, 1]  # it was the second
    assert_equal(flipped["keypoints"][0, 0], jnp.array(first))


def test_flip_falls_as_often_as_asked():
    image = jnp.array([0.0, 1]).reshape(1, 2, 1)

    def flips(key):
        return augment.random_flip(key, {"image": image}, probability=0.25)["image"][0, 0, 0]

    # 400 draws: mean 100, deviation 8.7.
    assert 70 < jax.jit(jax.vmap(flips))(jax.random.split(jax.random.key(0), 400)).sum() < 130


@pytest.mark.parametrize("padding_mode", ["constant", "reflect"])
def test_random_crop_is_a_window_of_the_padded_image(padding_mode):
    example = make_example()
    keys = jax.random.split(jax.random.key(0), 200)

    def draw(key):
        return augment.random_crop(key, example, padding=2, padding_mode=padding_mode)

    cropped = jax.device_get(jax.jit(jax.vmap(draw))(keys))
    padded = np.pad(example["image"], ((2, 2), (2, 2), (0, 0)), padding_mode)
    ignored = {"constant_values": 255} if padding_mode == "constant" else {}
    padded_segments = np.pad(example["segments"], 2, padding_mode, **ignored)
    offsets = set()
    for image, segments, box in zip(cropped["image"], cropped["segments"], cropped["boxes"][:, 0]):
        left, top = (12 - int(box[0]), 14 - int(box[1]))  # the box was at 10, 12 before padding
        window = (slice(top, top + SIZE), slice(left, left + SIZE))
        assert_equal(image, padded[window])
        assert_equal(segments, padded_segments[window])
        offsets.add((left, top))
    assert offsets == {(x, y) for x in range(5) for y in range(5)}


def test_center_crop_takes_the_middle():
    example = make_example()
    cropped = jax.jit(lambda example: augment.center_crop(example, size=(8, 10)))(example)
    assert_equal(cropped["image"], example["image"][12:20, 11:21])
    assert_equal(cropped["masks"], example["masks"][:, 12:20, 11:21])
    assert_equal(cropped["boxes"][0], jnp.array([0.0, 0, 10, 6]))  # clipped on the left and right


def test_resize_by_hand():
    example = {
        "image": jnp.array([[0.0, 1], [1, 0]])[..., None],
        "boxes": jnp.array([[0.0, 0, 1, 2]]),
        "valid": jnp.array([True]),
        "segments": jnp.array([[0, 1], [2, 3]]),
    }
    large = augment.resize(example, size=(2, 4))
    np.testing.assert_allclose(large["image"][0, :, 0], [0, 0.25, 0.75, 1], atol=1e-6)
    assert_equal(large["segments"], [[0, 0, 1, 1], [2, 2, 3, 3]])
    assert_equal(large["boxes"], jnp.array([[0.0, 0, 2, 2]]))
    np.testing.assert_allclose(augment.resize(example, size=(1, 1))["image"], [[[0.5]]], atol=1e-6)


def test_random_resized_crop_keeps_to_its_ranges():
    example = {"image": make_example()["image"]}
    keys = jax.random.split(jax.random.key(0), 100)

    def draw(key):
        return augment.random_resized_crop(key, example, size=(8, 8), scale=(0.2, 0.6))["image"]

    image = SIZE * np.asarray(jax.jit(jax.vmap(draw))(keys))
    # The picture names its own places: neighbours are a crop's side / 8 apart.
    width = 8 * (image[:, 4, 4, 0] - image[:, 4, 3, 0])
    height = 8 * (image[:, 4, 4, 1] - image[:, 3, 4, 1])
    area = width * height / SIZE**2
    assert 0.2 - 1e-3 < area.min() < 0.25
    assert 0.55 < area.max() < 0.6 + 1e-3
    ratio = width / height
    assert 0.75 - 1e-3 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 4 / 3 + 1e-3


@pytest.mark.parametrize(("size", "left"), [((8, 8), 0), ((4, 12), 4)])
def test_random_resized_crop_is_the_image_or_falls_back_to_its_middle(size, left):
    # The whole area as a square: fits a square image, and in no attempt the other.
    image = small_image(*size)
    side = size[0]
    crop = functools.partial(
        augment.random_resized_crop, size=(side, side), scale=(1.0, 1.0), ratio=(1.0, 1.0)
    )
    got = jax.jit(crop)(jax.random.key(0), {"image": image})
    assert_equal(got["image"], image[:, left : left + side])


def test_gradient_through_a_sampling_is_finite():
    def total(image, degrees):
        matrix = augment.affine_matrix((5, 5), degrees=degrees)
        return (augment.transform({"image": image}, matrix)["image"] ** 2).sum()

    for gradient in jax.jit(jax.grad(total, argnums=(0, 1)))(small_image(5, 5), 0.0):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": jnp.zeros((2, 4, 4, 3))}, r"image must be \[H, W, C\].*\[2, 4, 4, 3\].*vmap"),
        ({"image": jnp.zeros((32, 32, 3), jnp.uint8)}, r"image must be float.*uint8.*as_float"),
        ({"segments": jnp.zeros((4, 4))}, r"segments must be \[32, 32\].*got \[4, 4\]"),
        ({"boxes": jnp.zeros((3, 4))}, r"boxes must be \[2, 4\].*got \[3, 4\]"),
        ({"keypoints": jnp.zeros((2, 5, 2))}, r"keypoints must be \[2, K, 3\].*got \[2, 5, 2\]"),
    ],
)
def test_transform_names_the_wrong_entry(change, message):
    with pytest.raises(ValueError, match=message):
        augment.transform({**make_example(), **change}, jnp.eye(3))


def test_boxes_without_valid_are_refused():
    example = make_example()
    del example["valid"]
    with pytest.raises(ValueError, match=r"'boxes' without 'valid'.*Add valid"):
        augment.transform(example, jnp.eye(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k, e: augment.transform(e, jnp.eye(2)), r"matrix must be \[3, 3\]"),
        (lambda k, e: augment.transform(e, jnp.eye(3), output_size=8), "output_size must be"),
        (
            lambda k, e: augment.transform(e, jnp.eye(3), padding_mode="reflekt"),
            "constant, reflect, got 'reflekt'. Did you mean 'reflect'",
        ),
        (
            lambda k, e: augment.random_flip(k, e, keypoint_pairs=((0, 4),)),
            r"keypoint_pairs must name keypoints 0\.\.3",
        ),
        (
            lambda k, e: augment.random_flip(k, e, keypoint_pairs=((0, 1), (1, 2))),
            "every keypoint at most once",
        ),
        (lambda k, e: augment.random_flip(k, e, probability=2), "probability must be within 0..1"),
        (lambda k, e: augment.random_crop(k, e, padding=-1), "padding must be at least 0, got -1"),
        (lambda k, e: augment.random_crop(k, e, size=(33, 8)), r"at most \(32, 32\)"),
        (
            lambda k, e: augment.random_crop(k, e, padding=32, padding_mode="reflect"),
            "padding must be below 32 to reflect",
        ),
        (lambda k, e: augment.center_crop(e, size=(8, 33)), r"at most \(32, 32\)"),
        (lambda k, e: augment.random_affine(k, e, degrees=-1), "degrees must be at least 0"),
        (lambda k, e: augment.random_affine(k, e, scale=(2, 1)), "scale must be .* 0 < low"),
        (lambda k, e: augment.random_resized_crop(k, e, scale=(0, 1)), "scale must be .* 0 < low"),
        (lambda k, e: augment.transform(e, jnp.eye(3), min_visible=2), "min_visible must be"),
    ],
)
def test_bad_options_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0), make_example())
