"""Which operations are drawn, seen from outside: every result is that of a listed operation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.data import augment
from jaxcv.data.augment.operations import INDEX
from tests.xla import compiled_by

KEYS = jax.random.split(jax.random.key(0), 400)
# No two operations make the same of it, whatever their sign.
IMAGE = jnp.asarray(np.random.default_rng(0).integers(0, 230, (20, 30, 3)) / 255, jnp.float32)
BLENDS = ("brightness", "color", "contrast", "sharpness")


def both(**amounts):
    """(operation, argument) for either sign; factors of blends lie about 1."""
    return [
        (name, (name in BLENDS) + sign * amount)
        for name, amount in amounts.items()
        for sign in (1, -1)
    ]


# By hand from the published tables, for an image of 20 x 30 pixels.
TORCHVISION_9 = [
    ("identity", 0),
    *(("posterize", 7), ("solarize", 178.5), ("autocontrast", 0), ("equalize", 0)),
    *both(shear_x=0.09, shear_y=0.09, rotate=9, **dict.fromkeys(BLENDS, 0.27)),
    *both(translate_x=4, translate_y=2),  # 150 / 331 x 30 x 0.3 = 4.08; of 20: 2.7
]
TIMM_9 = [
    ("identity", 0),
    *(("posterize", 1), ("solarize", 26), ("solarize_add", 99)),
    *(("autocontrast", 0), ("equalize", 0), ("invert", 0)),
    *both(shear_x=0.27, shear_y=0.27, rotate=27, **dict.fromkeys(BLENDS, 0.81)),
    *both(translate_x=12.15, translate_y=8.1),
]


@jax.jit
def _apply(operation, argument):
    return augment.apply_operation({"image": IMAGE}, operation, argument)["image"]


def run(function, count):
    """Levels after `function` with `count` keys."""
    one = jax.jit(jax.vmap(lambda key: function(key, {"image": IMAGE})["image"]))
    return np.asarray(one(KEYS[:count])) * 255


def counts(function, listed):
    """How many of 400 results equal each of the listed operations', and that all equal one."""
    wanted = [_apply(INDEX[name], float(x)) * 255 for name, x in listed]
    got = run(function, 400)
    off = np.stack([abs(got - want).mean((1, 2, 3)) for want in wanted])  # [listed, 400]
    # The argument may come out of another rounding, and a level may tip.
    assert off.min(0).max() < 0.05
    return np.bincount(off.argmin(0), minlength=len(listed))


def test_rand_augment_draws_from_torchvisions_table():
    function = functools.partial(augment.rand_augment, num_ops=1, magnitude=9.0)
    drawn = counts(function, TORCHVISION_9)
    # 14 operations, of which 9 have two signs: 28.6 and 14.3 of 400 each, within 4 deviations.
    assert (abs(drawn[:5] - 400 / 14) < 21).all()
    assert (abs(drawn[5:] - 400 / 28) < 15).all()


def test_rand_augment_draws_from_timms_table_and_leaves_half():
    drawn = counts(functools.partial(augment.rand_augment, num_ops=1, space="timm"), TIMM_9)
    assert 160 < drawn[0] < 240
    assert (drawn[1:] > 0).all()


def test_operations_follow_one_another_and_magnitudes_spread():
    results = run(functools.partial(augment.rand_augment, num_ops=2, magnitude_std=5.0), 60)
    assert len(np.unique(results.round().reshape(60, -1), axis=0)) > 55


def test_trivial_augment_reaches_far():
    results = run(augment.trivial_augment, 100)
    # Shifts of up to 32 pixels leave nothing of 20 x 30.
    outside = (results == 0).all(-1).mean((1, 2))
    assert outside.max() == 1
    assert len(np.unique(results.round().reshape(100, -1), axis=0)) > 60


def test_auto_augment_leaves_few_as_they_are():
    same = (abs(run(augment.auto_augment, 400) - IMAGE * 255) < 0.5).all((1, 2, 3)).mean()
    # The mean of (1 - p)(1 - q) over the 25 pairs is 0.150; some operations change nothing here.
    assert 0.07 < same < 0.25


@pytest.mark.parametrize(
    "policy", [augment.rand_augment, augment.trivial_augment, augment.auto_augment]
)
def test_outside_of_jit_the_operations_are_compiled_once(policy):
    policy(KEYS[0], {"image": IMAGE}, fill=0.5)
    assert compiled_by(lambda: policy(KEYS[1], {"image": IMAGE}, fill=0.5)) == 0
