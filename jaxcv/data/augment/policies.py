"""Which operations an example gets, and how strong: AutoAugment and its successors."""

import difflib

import jax
import jax.numpy as jnp

from jaxcv.data.augment import check, geometric
from jaxcv.data.augment.operations import INDEX, apply_operation
from jaxcv.ops.program import one_program

_BLENDS = ("brightness", "color", "contrast", "sharpness")
_SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", *_BLENDS)


def rand_augment(
    key, example, *, num_ops=2, magnitude=9.0, magnitude_std=0.0, space="torchvision", **options
):
    """Example after operations drawn uniformly from a space, all of about one magnitude.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, 1 or 3] float in 0..1; see the package.
        num_ops: how many, one after the other, with repetition.
        magnitude: 0..30 in torchvision's space, 0..10 in timm's.
        magnitude_std: deviation of the magnitude, drawn for each operation, clipped to that range.
        space: "torchvision" (14 operations, the identity among them), or "timm": the 15 of its
            "rand-m9-mstd0.5-inc1", each carried out with probability 1/2, as DeiT and Swin have it.
        options: `fill` and `min_visible` of `apply_operation`.

    Raises:
        ValueError: an unknown space, an option out of range.

    Source: Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search
    space", 2020; torchvision's RandAugment, timm's. Always bilinear: timm draws bicubic as well.
    """
    if space not in _SPACES:
        near = difflib.get_close_matches(space, _SPACES) or _SPACES
        raise ValueError(f"rand_augment's space {space!r} is unknown. Nearest: {', '.join(near)}.")
    amounts_of, most, probability = _SPACES[space]
    check.check_within("rand_augment's num_ops", num_ops, 1)
    check.check_within("rand_augment's magnitude", magnitude, 0, most)
    check.check_within("rand_augment's magnitude_std", magnitude_std, 0)
    draw_key, level_key = jax.random.split(key)
    draws = jax.random.uniform(draw_key, (num_ops, 3))
    level = jnp.full(num_ops, magnitude)
    if magnitude_std:
        level = level + magnitude_std * jax.random.normal(level_key, (num_ops,))
        level = jnp.clip(level, 0, most)

    def drawn(draw, level):
        amounts = amounts_of(level / most, geometric.image_size(example))
        operation, argument = _choose(draw[0], draw[1], amounts)
        return jnp.where(draw[2] < probability, operation, INDEX["identity"]), argument

    return _apply_in_turn(example, *jax.vmap(drawn)(draws, level), **options)


def trivial_augment(key, example, **options):
    """Example after one operation of a random magnitude, uniform over 31 that reach far.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, 1 or 3] float in 0..1; see the package.
        options: `fill` and `min_visible` of `apply_operation`.

    Source: Mueller, Hutter, "TrivialAugment: tuning-free yet state-of-the-art data augmentation",
    2021; torchvision's TrivialAugmentWide, bilinear.
    """
    draws = jax.random.uniform(key, (3,))
    part = jnp.floor(31 * draws[2]) / 30
    amounts = _wide(part, geometric.image_size(example))
    operation, argument = _choose(draws[0], draws[1], amounts)
    return _apply_in_turn(example, operation[None], argument[None], **options)


def auto_augment(key, example, **options):
    """Example after one of the 25 pairs of operations that were learned on ImageNet.

    Args:
        key: typed PRNG key.
        example: dict with `image` [H, W, 1 or 3] float in 0..1; see the package.
        options: `fill` and `min_visible` of `apply_operation`.

    Source: Cubuk et al., "AutoAugment: learning augmentation policies from data", 2019, table 9;
    torchvision's AutoAugment, bilinear.
    """
    draws = jax.random.uniform(key, (5,))
    policy = jnp.floor(len(_LEARNED) * draws[4]).astype(jnp.int32)
    names, probabilities, levels = (
        jnp.array([[of(part) for part in pair] for pair in _LEARNED])[policy]
        for of in (lambda part: INDEX[part[0]], lambda part: part[1], lambda part: part[2])
    )  # [2] each

    def drawn(operation, probability, level, sign_draw, coin):
        amounts = _torchvision(level / 9, geometric.image_size(example)) | {"invert": 0.0}
        places = jnp.array([INDEX[name] for name in amounts])
        argument = jnp.where(places == operation, _arguments(sign_draw, amounts), 0).sum()
        return jnp.where(coin < probability, operation, INDEX["identity"]), argument

    pair = jax.vmap(drawn)(names, probabilities, levels, draws[:2], draws[2:4])
    return _apply_in_turn(example, *pair, **options)


@one_program("fill", "min_visible")
def _apply_in_turn(example, operations, arguments, *, fill=0.0, min_visible=0.0):
    """Example after operations [N] with arguments [N], one after the other."""

    def one_more(example, operation):
        return apply_operation(example, *operation, fill=fill, min_visible=min_visible), None

    return jax.lax.scan(one_more, example, (operations, arguments))[0]  # compiled once


def _torchvision(part, size):
    """{operation: its amount}: [] part of the greatest magnitude, (height, width) -> [] each."""
    shift = [jnp.trunc(150 / 331 * side * part) for side in size]
    return {
        "identity": 0.0,
        **_moves(0.3 * part, shift, 30 * part, 0.9 * part),
        "posterize": 8 - jnp.round(4 * part),
        "solarize": 255 * (1 - part),
        "autocontrast": 0.0,
        "equalize": 0.0,
    }


def _wide(part, size):
    """The same for TrivialAugment, whose shifts are of up to 32 pixels on any image."""
    del size
    return {
        "identity": 0.0,
        **_moves(0.99 * part, [jnp.trunc(32 * part)] * 2, 135 * part, 0.99 * part),
        "posterize": 8 - jnp.round(6 * part),
        "solarize": 255 * (1 - part),
        "autocontrast": 0.0,
        "equalize": 0.0,
    }


def _timm(part, size):
    return {
        **_moves(0.3 * part, [0.45 * side * part for side in size], 30 * part, 0.9 * part),
        "posterize": 4 - jnp.trunc(4 * part),
        "solarize": 256 - jnp.trunc(256 * part),
        "solarize_add": jnp.trunc(110 * part),
        "autocontrast": 0.0,
        "equalize": 0.0,
        "invert": 0.0,
    }


def _moves(slope, shift, degrees, factor):
    return {
        **{"shear_x": slope, "shear_y": slope, "translate_x": shift[1], "translate_y": shift[0]},
        "rotate": degrees,
        **dict.fromkeys(_BLENDS, factor),
    }


def _choose(draw, sign_draw, amounts):
    """An operation's index and argument, [] each, by two numbers in 0..1."""
    choice = jnp.floor(len(amounts) * draw).astype(jnp.int32)
    operation = jnp.array([INDEX[name] for name in amounts])[choice]
    return operation, _arguments(sign_draw, amounts)[choice]


def _arguments(draw, amounts):
    """Arguments of `apply_operation` for each of the operations, [len(amounts)], of random sign."""
    sign = jnp.where(draw < 0.5, -1.0, 1.0)
    return jnp.stack(
        [
            amount * (sign if name in _SIGNED else 1.0) + (1.0 if name in _BLENDS else 0.0)
            for name, amount in amounts.items()
        ]
    )


# Name -> amounts, the greatest magnitude, the probability that an operation is carried out.
_SPACES = {"torchvision": (_torchvision, 30, 1.0), "timm": (_timm, 10, 0.5)}

# AutoAugment's pairs of (operation, probability, level of 0..9); 0 where there is no level.
_LEARNED = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 0), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 0)),
    (("equalize", 0.0, 0), ("equalize", 0.8, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 0)),
    (("color", 0.4, 0), ("equalize", 0.6, 0)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
)
