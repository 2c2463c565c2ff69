"""One function out of the fields of a config, for the training step."""

import functools

import jax
import jax.numpy as jnp

from jaxcv.data.augment import check, colour, erasing, geometric, policies
from jaxcv.data.augment.elastic import elastic_deformation

# Each draws from a key of its own: switching one on leaves the others' draws as they were.
_DRAWS = (
    "flip", "flip_vertical", "crop", "affine", "resized_crop", "elastic",
    "color", "grayscale", "cutout", "erasing", "policy", "lighting",
)  # fmt: skip


def create(config):
    """Function (keys [B], batch) -> batch that augments every example by its own key.

    Args:
        config: an ml_collections ConfigDict (or any object with these attributes), all off at the
            values in brackets: `flip`, `flip_vertical` [False], `crop` [0], `crop_padding` [0],
            `padding_mode` ["constant"], `fill` [0.0], `degrees`, `translate`, `shear` [0.0],
            `scale` [(1, 1)], `resized_crop` [0], `resized_crop_scale`, `resized_crop_ratio`,
            `elastic_sigma` [0.0], `elastic_grid` [3], `min_visible` [0.0], `keypoint_pairs` [()],
            `rand_augment` [0], `rand_augment_space`, `rand_augment_magnitude`,
            `rand_augment_std`, `trivial_augment`, `auto_augment` [False], `brightness`,
            `contrast`, `saturation`, `hue`, `grayscale`, `lighting` [0.0], `cutout` [0],
            `erasing` [0.0], `erasing_noise` [False].

    Returns:
        A function for the training step: keys are typed, batch is a dict of [B, ...] arrays with
        `image` [B, H, W, C], uint8 or float; it comes back as float in 0..1. Geometry first, then
        the policy, colours, erasing. Flips and crops alone are slices; with any of the others on,
        all geometry is one matrix (and one displacement) and the image is sampled once; each
        operation of a policy samples it again.

    Raises:
        ValueError: a field out of its range; in a call, arrays that do not fit.
    """
    augment_one = functools.partial(_augment_one, config=config)
    # Every check runs on shapes and options alone: a picture that is never made finds them here.
    key = jax.eval_shape(jax.random.key, 0)
    picture = {"image": jax.ShapeDtypeStruct((4096, 4096, 3), jnp.float32)}
    try:
        check.check_padding_mode(config.padding_mode)
        check.check_within("min_visible", config.min_visible, 0, 1)
        _check_alternatives(config, "crop", "resized_crop")
        _check_alternatives(config, "rand_augment", "trivial_augment", "auto_augment")
        jax.eval_shape(augment_one, key, picture)
    except ValueError as error:
        raise ValueError(f"config.augment: {error}") from None

    def augment(keys, batch):
        if "image" not in batch or batch["image"].ndim != 4:
            shapes = {name: list(array.shape) for name, array in batch.items()}
            raise ValueError(f"batch must hold 'image' [B, H, W, C], got {shapes}.")
        return jax.vmap(augment_one)(keys, batch)

    return augment


def _augment_one(key, example, *, config):
    keys = dict(zip(_DRAWS, jax.random.split(key, len(_DRAWS))))
    example = {**example, "image": colour.as_float(example["image"])}
    if _needs_sampling(config):
        example = _warp(keys, example, config)
    else:
        example = _slice(keys, example, config)
    example = _apply_policy(keys["policy"], example, config)
    return {**example, "image": _recolour(keys, example["image"], config)}


def _check_alternatives(config, *names):
    on = [name for name in names if getattr(config, name)]
    if len(on) > 1:
        raise ValueError(f"{' and '.join(on)} exclude each other: turn all but one off.")


def _needs_sampling(config):
    moves = (config.degrees, config.translate, config.shear, config.elastic_sigma)
    return config.resized_crop or any(moves) or tuple(config.scale) != (1, 1)


def _warp(keys, example, config):
    """Geometry as one matrix, and one displacement where there is an elastic one."""
    size = geometric.image_size(example)
    side = config.resized_crop or config.crop
    output_size = (side, side) if side else size
    matrices = [
        geometric.random_affine_matrix(
            keys["affine"],
            size,
            degrees=config.degrees,
            translate=config.translate,
            scale=config.scale,
            shear=config.shear,
        )
    ]
    for name, vertical in _flips(config):
        matrices.append(geometric.random_flip_matrix(keys[name], size, vertical=vertical))
    if config.crop or config.crop_padding:
        crop_size = (config.crop, config.crop) if config.crop else size
        matrices.append(
            geometric.random_crop_matrix(keys["crop"], size, crop_size, padding=config.crop_padding)
        )
    if config.resized_crop:
        matrices.append(
            geometric.random_resized_crop_matrix(
                keys["resized_crop"],
                size,
                output_size,
                scale=config.resized_crop_scale,
                ratio=config.resized_crop_ratio,
            )
        )
    matrix = functools.reduce(
        lambda first, then: jnp.matmul(then, first, precision="highest"), matrices
    )
    options = {
        "output_size": output_size,
        "fill": config.fill,
        "padding_mode": config.padding_mode,
        "min_visible": config.min_visible,
        "keypoint_pairs": config.keypoint_pairs,
    }
    if not config.elastic_sigma:
        return geometric.transform(example, matrix, **options)
    return elastic_deformation(
        keys["elastic"],
        example,
        sigma=config.elastic_sigma,
        grid=config.elastic_grid,
        matrix=matrix,
        **options,
    )


def _slice(keys, example, config):
    """The same by whole pixels alone: nothing is interpolated."""
    for name, vertical in _flips(config):
        example = geometric.random_flip(
            keys[name], example, vertical=vertical, keypoint_pairs=config.keypoint_pairs
        )
    if not config.crop and not config.crop_padding:
        return example
    return geometric.random_crop(
        keys["crop"],
        example,
        padding=config.crop_padding,
        size=(config.crop, config.crop) if config.crop else None,
        fill=config.fill,
        padding_mode=config.padding_mode,
        min_visible=config.min_visible,
    )


def _flips(config):
    """The flips that are on, and whether each turns upside down."""
    flips = (("flip", False), ("flip_vertical", True))
    return [(name, vertical) for name, vertical in flips if getattr(config, name)]


def _apply_policy(key, example, config):
    options = {"fill": config.fill, "min_visible": config.min_visible}
    if config.rand_augment:
        example = policies.rand_augment(
            key,
            example,
            num_ops=config.rand_augment,
            space=config.rand_augment_space,
            magnitude=config.rand_augment_magnitude,
            magnitude_std=config.rand_augment_std,
            **options,
        )
    if config.trivial_augment:
        example = policies.trivial_augment(key, example, **options)
    if config.auto_augment:
        example = policies.auto_augment(key, example, **options)
    return example


def _recolour(keys, image, config):
    image = colour.color_jitter(
        keys["color"],
        image,
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
    )
    if config.grayscale:
        image = colour.random_grayscale(keys["grayscale"], image, probability=config.grayscale)
    if config.lighting:
        image = colour.pca_lighting(keys["lighting"], image, std=config.lighting)
    if config.cutout:
        image = erasing.cutout(keys["cutout"], image, size=config.cutout, fill=config.fill)
    if config.erasing:
        image = erasing.random_erasing(
            keys["erasing"],
            image,
            probability=config.erasing,
            fill=config.fill,
            noise=config.erasing_noise,
        )
    return image
