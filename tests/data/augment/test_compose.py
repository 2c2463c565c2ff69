import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from jaxcv.data import augment

OFF = {
    "flip": False,
    "flip_vertical": False,
    "crop": 0,
    "crop_padding": 0,
    "padding_mode": "constant",
    "fill": 0.0,
    "degrees": 0.0,
    "translate": 0.0,
    "scale": (1.0, 1.0),
    "shear": 0.0,
    "resized_crop": 0,
    "resized_crop_scale": (0.08, 1.0),
    "resized_crop_ratio": (3 / 4, 4 / 3),
    "elastic_sigma": 0.0,
    "elastic_grid": 3,
    "min_visible": 0.0,
    "keypoint_pairs": (),
    "rand_augment": 0,
    "rand_augment_space": "torchvision",
    "rand_augment_magnitude": 9.0,
    "rand_augment_std": 0.0,
    "trivial_augment": False,
    "auto_augment": False,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "grayscale": 0.0,
    "lighting": 0.0,
    "cutout": 0,
    "erasing": 0.0,
    "erasing_noise": False,
    "mixup": 0.0,
    "cutmix": 0.0,
}
EVERYTHING = {
    "flip": True,
    "flip_vertical": True,
    "crop_padding": 2,
    "degrees": 20.0,
    "resized_crop": 8,
    "elastic_sigma": 1.0,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.2,
    "hue": 0.1,
    "grayscale": 0.2,
    "lighting": 0.1,
    "cutout": 3,
    "erasing": 0.5,
    "erasing_noise": True,
}
KEYS = jax.random.split(jax.random.key(0), 8)


def create(**fields):
    return augment.create(ml_collections.ConfigDict({**OFF, **fields}))


def make_batch():
    """Images of distinct bytes, with a box and two keypoints each."""
    image = np.arange(8 * 12 * 12 * 3).reshape(8, 12, 12, 3) % 251
    return {
        "image": jnp.array(image, jnp.uint8),
        "boxes": jnp.tile(jnp.array([2.0, 3, 8, 10]), (8, 1, 1)),
        "valid": jnp.ones((8, 1), bool),
        "keypoints": jnp.tile(jnp.array([[4.0, 5, 2], [7, 5, 2]]), (8, 1, 1, 1)),
        "label": jnp.arange(8),
    }


def assert_equal(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.fixture(scope="module")
def augment_everything():
    return jax.jit(create(**EVERYTHING))


def test_nothing_on_makes_the_image_float_and_nothing_else():
    batch = make_batch()
    want = {**batch, "image": batch["image"].astype(jnp.float32) / 255}
    assert_equal(create()(KEYS, batch), want)


def test_sampling_and_slicing_do_the_same_with_the_same_keys():
    fields = {"flip": True, "flip_vertical": True, "crop_padding": 3, "keypoint_pairs": ((0, 1),)}
    sliced = jax.jit(create(**fields))(KEYS, make_batch())
    # A scale one bit above 1 moves no pixel and turns the sampling on.
    sampled = jax.jit(create(**fields, scale=(1.0, 1.0000001)))(KEYS, make_batch())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), sampled, sliced)
    assert len({tuple(box) for box in np.asarray(sliced["boxes"][:, 0])}) > 4


def test_results_depend_on_the_example_and_its_key_alone(augment_everything):
    batch = make_batch()
    whole = augment_everything(KEYS, batch)
    assert whole["image"].shape == (8, 8, 8, 3)
    order = jnp.array([5, 2, 7, 0, 1, 3, 4, 6])
    shuffled = augment_everything(KEYS[order], jax.tree.map(lambda leaf: leaf[order], batch))
    assert_equal(shuffled, jax.tree.map(lambda leaf: leaf[order], whole))
    other = augment_everything(jax.random.split(jax.random.key(1), 8), batch)
    assert all((other["image"][i] != whole["image"][i]).any() for i in range(8))


def test_a_crop_is_cut_by_slicing_and_by_sampling():
    batch = {"image": make_batch()["image"]}
    sliced = jax.jit(create(crop=9, flip=True))(KEYS, batch)["image"]
    sampled = jax.jit(create(crop=9, flip=True, scale=(1.0, 1.0000001)))(KEYS, batch)["image"]
    assert sliced.shape == (8, 9, 9, 3)
    np.testing.assert_allclose(sampled, sliced, atol=1e-4)


def test_switching_one_on_leaves_the_draws_of_the_others():
    batch = {"image": make_batch()["image"]}
    flipped = jax.jit(create(flip=True))(KEYS, batch)["image"]
    cut = jax.jit(create(flip=True, cutout=2, fill=-1.0))(KEYS, batch)["image"]
    assert (cut == -1).any()
    assert_equal(jnp.where(cut == -1, flipped, cut), flipped)


def test_new_keys_and_values_do_not_recompile(augment_everything):
    batch = make_batch()
    augment_everything(KEYS, batch)
    brighter = {**batch, "image": batch["image"] + 1}
    augment_everything(jax.random.split(jax.random.key(2), 8), brighter)
    assert augment_everything._cache_size() == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_padding": -1}, "config.augment: random_crop's padding must be at least 0, got -1"),
        ({"scale": (0.0, 1.0)}, "config.augment: scale must be .low, high. with 0 < low"),
        ({"resized_crop": -8}, "config.augment: .*size must be .* got"),
        ({"elastic_sigma": -1.0}, "config.augment: elastic_deformation's sigma must be"),
        ({"cutout": -2}, "config.augment: cutout's size must be at least 0"),
        ({"erasing": 1.5}, "config.augment: random_erasing's probability must be within 0..1"),
        ({"flip": True, "padding_mode": "mirror"}, "padding_mode must be one of"),
        ({"min_visible": 2.0}, "min_visible must be within 0..1"),
        ({"crop": 8, "resized_crop": 8}, "crop and resized_crop exclude each other"),
        ({"rand_augment": 2, "auto_augment": True}, "rand_augment and auto_augment exclude"),
        ({"rand_augment": 2, "rand_augment_space": "tim"}, "space 'tim' is unknown. Nearest: timm"),
        ({"rand_augment": 2, "rand_augment_magnitude": 31.0}, "magnitude must be within 0..30"),
        ({"rand_augment": -1}, "num_ops must be at least 1, got -1"),
        ({"lighting": -0.1}, "pca_lighting's std must be at least 0"),
    ],
)
def test_bad_fields_are_named_before_any_batch(fields, message):
    with pytest.raises(ValueError, match=message):
        create(**fields)


def test_a_batch_of_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"batch must hold 'image' \[B, H, W, C\], got .*\[2, 4"):
        create()(KEYS, {"image": jnp.zeros((2, 4, 4))})
