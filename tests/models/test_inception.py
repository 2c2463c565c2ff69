import jax
import jax.numpy as jnp
import pytest

from jaxcv import models
from tests.models import counting

KEY = jax.random.key(0)
SMALL = {"repeats": (1, 1, 1), "width_multiplier": 0.02, "num_classes": 3}


def test_inception_v3_without_its_head_has_timms_count_of_parameters():
    assert counting.parameters("inception_v3", aux_logits=False) == 23_834_568


def answers(side):
    """Inception v3's outputs for an image of this size, and its variables; all in shapes."""
    model = models.create("inception_v3", **SMALL)
    return jax.eval_shape(model.init_with_output, KEY, jnp.zeros((1, side, side, 3)))


def test_inception_v3_has_an_auxiliary_head_from_299_pixels():
    assert answers(298)[0]["aux"] == {}
    assert answers(299)[0]["aux"]["AuxLogits"].shape == (1, 3)


def test_the_parameters_of_inception_v3_do_not_depend_on_the_images_size():
    assert answers(75)[1] == answers(299)[1]


@pytest.mark.parametrize("name", ["inception_v3", "inception_v4", "inception_resnet_v2"])
def test_the_smallest_image_has_75_pixels(name):
    model = models.create(name, **SMALL)
    assert jax.eval_shape(model.init, KEY, jnp.zeros((1, 75, 75, 3)))
    with pytest.raises(ValueError, match="image is too small"):
        jax.eval_shape(model.init, KEY, jnp.zeros((1, 74, 75, 3)))


def test_factorised_kernels_came_after_batch_normalisation():
    # 2015: 5x5 as two 3x3, with batch normalisation; 2016 and later: 7x7 as 1x7 and 7x1 as well.
    assert set(counting.kernels("bninception")) == {(7, 7), (1, 1), (3, 3)}
    square = {(1, 1), (3, 3), (5, 5)}
    factorised = {(1, 7), (7, 1), (1, 3), (3, 1)}
    assert set(counting.kernels("inception_v3")) == square | factorised
    assert set(counting.kernels("inception_v4")) == {(1, 1), (3, 3)} | factorised
    assert set(counting.kernels("inception_resnet_v2")) == square | factorised


def test_inception_v4_has_four_seven_and_three_modules_of_a_kind():
    shapes = counting.stages("inception_v4", (1, 299, 299, 3))
    sizes = [shape[1:] for shape in shapes.values()]
    assert sizes.count((35, 35, 384)) == 1 + 4  # the stem's and the modules'
    assert sizes.count((17, 17, 1024)) == 1 + 7  # the reduction's and the modules'
    assert sizes.count((8, 8, 1536)) == 1 + 3


@pytest.mark.parametrize(("sides", "last"), [((160, 192), (5, 6)), ((223, 230), (7, 7))])
def test_bninception_takes_sides_whose_maps_are_even(sides, last):
    shapes = counting.stages("bninception", (1, *sides, 3), width_multiplier=0.02)
    assert shapes["global_pool.input"][1:3] == last


def test_bninception_names_the_sides_it_takes():
    model = models.create("bninception", width_multiplier=0.02)
    with pytest.raises(ValueError, match=r"map of 15x14 .* multiples of 32"):
        jax.eval_shape(model.init, KEY, jnp.zeros((1, 240, 224, 3)))
