"""Augmentation on the device: pure functions of a key and one example, for `jax.vmap` inside a
training step. An example is a dict that holds `image` [H, W, C] and, where there are such,
`boxes` [N, 4], `valid` [N], `masks` [N, H, W], `segments` [H, W], `keypoints` [N, K, 3]; whatever
moves the image moves them all, and other entries pass through. `create` composes from a config.
"""

from jaxcv.data.augment.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    as_float,
    color_jitter,
    normalize,
    pca_lighting,
    random_grayscale,
    rgb_to_grayscale,
)
from jaxcv.data.augment.compose import create
from jaxcv.data.augment.elastic import elastic_deformation
from jaxcv.data.augment.erasing import cutout, random_erasing
from jaxcv.data.augment.geometric import (
    affine_matrix,
    center_crop,
    random_affine,
    random_crop,
    random_flip,
    random_resized_crop,
    resize,
    transform,
)
from jaxcv.data.augment.mixing import create_mixing, cutmix, mixes, mixup
from jaxcv.data.augment.operations import apply_operation
from jaxcv.data.augment.policies import auto_augment, rand_augment, trivial_augment

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "affine_matrix",
    "apply_operation",
    "as_float",
    "auto_augment",
    "center_crop",
    "color_jitter",
    "create",
    "create_mixing",
    "cutmix",
    "cutout",
    "elastic_deformation",
    "mixes",
    "mixup",
    "normalize",
    "pca_lighting",
    "rand_augment",
    "random_affine",
    "random_crop",
    "random_erasing",
    "random_flip",
    "random_grayscale",
    "random_resized_crop",
    "resize",
    "rgb_to_grayscale",
    "transform",
    "trivial_augment",
]
