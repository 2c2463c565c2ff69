import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.data import augment


def pixel(*values):
    return jnp.array(values, jnp.float32).reshape(1, 1, -1)


def assert_close(got, want):
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_as_float_divides_bytes_by_255_and_passes_floats():
    assert_close(augment.as_float(jnp.array([0, 51, 255], jnp.uint8)), [0, 0.2, 1])
    half = jnp.ones(3, jnp.bfloat16)
    assert augment.as_float(half) is half
    with pytest.raises(ValueError, match="uint8 or float, got int32"):
        augment.as_float(jnp.zeros(3, jnp.int32))


def test_normalize_by_hand():
    got = augment.normalize(pixel(0.5, 0.25, 1.0), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.5))
    assert_close(got, pixel(0, -1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.5, 0.5), "std": 1.0}, "mean must be a number or one for each of 3 channels"),
        ({"mean": 0.0, "std": (1.0, 0.0, 1.0)}, r"std must be above 0, got \[1.0, 0.0, 1.0\]"),
    ],
)
def test_normalize_names_the_wrong_option(options, message):
    with pytest.raises(ValueError, match=message):
        augment.normalize(jnp.zeros((2, 2, 3)), **options)


def test_brightness_scales_and_clips():
    assert_close(augment.adjust_brightness(pixel(0.2, 0.4, 0.8), 1.5), pixel(0.3, 0.6, 1.0))


def test_contrast_moves_away_from_the_mean_grey():
    image = jnp.array([[[0.2] * 3, [0.6] * 3]])  # luma 0.9999 times the value, mean 0.39996
    assert_close(augment.adjust_contrast(image, 0.0), np.full((1, 2, 3), 0.39996))
    assert_close(augment.adjust_contrast(image, 1.5)[0, :, 0], [0.10002, 0.70002])


def test_contrast_of_one_channel_uses_its_own_mean():
    image = jnp.array([[[0.2], [0.6]]])
    assert_close(augment.adjust_contrast(image, 0.5)[0, :, 0], [0.3, 0.5])


def test_saturation_moves_away_from_grey():
    assert_close(augment.adjust_saturation(pixel(1, 0, 0), 0.0), pixel(*[0.2989] * 3))
    assert_close(augment.adjust_saturation(pixel(1, 0, 0), 0.5), pixel(0.64945, 0.14945, 0.14945))


def test_hue_turns_the_colour_circle():
    assert_close(augment.adjust_hue(pixel(1, 0, 0), 1 / 3), pixel(0, 1, 0))
    assert_close(augment.adjust_hue(pixel(1, 0, 0), -1 / 3), pixel(0, 0, 1))
    assert_close(augment.adjust_hue(pixel(0.3, 0.3, 0.3), 0.4), pixel(0.3, 0.3, 0.3))


def test_hue_equals_the_standard_library():
    image = jax.random.uniform(jax.random.key(0), (4, 8, 3))

    def turn(color):
        hue, saturation, value = colorsys.rgb_to_hsv(*color)
        return colorsys.hsv_to_rgb((hue + 0.2) % 1, saturation, value)

    assert_close(augment.adjust_hue(image, 0.2), np.apply_along_axis(turn, -1, image))


def test_hue_gradient_is_finite_for_grey_black_and_pure_colours():
    image = jnp.array([[[0.5, 0.5, 0.5], [0, 0, 0], [1, 0, 0], [0.2, 0.7, 0.7]]])
    gradient = jax.jit(jax.grad(lambda image: augment.adjust_hue(image, 0.1).sum()))(image)
    assert np.isfinite(gradient).all()


def test_color_jitter_draws_within_its_range():
    image = jnp.full((1, 1, 1), 0.5)
    keys = jax.random.split(jax.random.key(0), 200)
    jitter = jax.jit(jax.vmap(lambda key: augment.color_jitter(key, image, brightness=0.4)))
    values = jitter(keys)
    assert 0.3 <= values.min() < 0.32
    assert 0.68 < values.max() <= 0.7


def test_color_jitter_of_nothing_returns_the_image():
    image = jax.random.uniform(jax.random.key(0), (2, 2, 1))
    np.testing.assert_array_equal(augment.color_jitter(jax.random.key(1), image), image)


def test_pca_lighting_adds_one_colour_along_the_components():
    image = jnp.full((2, 3, 3), 0.5)
    lit = jax.jit(jax.vmap(lambda key: augment.pca_lighting(key, image, std=0.1)))
    shifts = np.asarray(lit(jax.random.split(jax.random.key(0), 2000))) - 0.5
    assert np.ptp(shifts, axis=(1, 2)).max() < 1e-6
    shift = shifts[:, 0, 0]
    three = 3 / np.sqrt(2 * len(shift))  # deviations of a deviation drawn so often, relative
    # Along the first component, nearly grey, and the last: a tenth of the roots of the variances.
    np.testing.assert_allclose((shift @ [-0.5675, -0.5808, -0.5836]).std(), 0.02175, rtol=three)
    np.testing.assert_allclose((shift @ [0.4009, -0.8140, 0.4203]).std(), 0.00045, rtol=three)


def test_random_grayscale_gives_three_equal_channels():
    image = jax.random.uniform(jax.random.key(0), (2, 2, 3))
    grey = augment.random_grayscale(jax.random.key(1), image, probability=1.0)
    want = np.asarray(image) @ np.array([0.2989, 0.587, 0.114])
    assert_close(grey, np.repeat(want[..., None], 3, axis=-1))


@pytest.mark.parametrize(
    ("options", "channels", "message"),
    [
        ({"brightness": -0.1}, 3, "brightness must be at least 0, got -0.1"),
        ({"hue": 0.6}, 3, "hue must be within 0..0.5, got 0.6"),
        ({"saturation": 0.5}, 1, r"image must be \[H, W, 3\].*got \[2, 2, 1\]"),
    ],
)
def test_color_jitter_names_the_wrong_option(options, channels, message):
    with pytest.raises(ValueError, match=message):
        augment.color_jitter(jax.random.key(0), jnp.zeros((2, 2, channels)), **options)
