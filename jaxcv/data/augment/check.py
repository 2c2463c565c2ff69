"""What the augmentations refuse, from shapes, dtypes and static options alone."""

import difflib

import jax.numpy as jnp

PADDING_MODES = ("constant", "reflect")


def check_image(image):
    """Raises ValueError where image is no [H, W, C] array with at least one pixel."""
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"image must be [H, W, C], got {list(image.shape)}. For a batch, jax.vmap the function."
        )


def check_float_image(image):
    """Raises ValueError where image is no [H, W, C] array of floating point."""
    check_image(image)
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"image must be float in 0..1, got {image.dtype}. Call as_float on it first."
        )


def check_example(example):
    """Raises ValueError where the shapes in an example do not fit each other."""
    if "image" not in example:
        raise ValueError(f"example must hold 'image', got {sorted(example)}.")
    check_image(example["image"])
    height, width = example["image"].shape[:2]
    if "segments" in example:
        _check_shape("segments", example["segments"], (height, width))
    if "boxes" in example and "valid" not in example:
        raise ValueError(
            f"example holds 'boxes' without 'valid' ({sorted(example)}): a box that leaves the"
            " image is marked there. Add valid [N] bool."
        )
    instances = [name for name in ("valid", "boxes", "masks", "keypoints") if name in example]
    shapes = {"valid": (), "boxes": (4,), "masks": (height, width), "keypoints": ("K", 3)}
    for name in instances:
        count = example[instances[0]].shape[:1] or ("N",)
        _check_shape(name, example[name], (*count, *shapes[name]))


def check_within(name, value, low, high=float("inf")):
    """Raises ValueError where not low <= value <= high."""
    if not low <= value <= high:
        wanted = f"at least {low}" if high == float("inf") else f"within {low}..{high}"
        raise ValueError(f"{name} must be {wanted}, got {value}.")


def check_range(name, value):
    """Raises ValueError where value is no pair 0 < low <= high."""
    if len(value) != 2 or not 0 < value[0] <= value[1]:
        raise ValueError(f"{name} must be (low, high) with 0 < low <= high, got {tuple(value)}.")


def check_size(name, size):
    """Raises ValueError where size is no (height, width) of at least one pixel each."""
    if not isinstance(size, tuple | list) or len(size) != 2 or min(size) < 1:
        raise ValueError(f"{name} must be (height, width) in pixels, at least (1, 1), got {size}.")


def check_padding_mode(padding_mode):
    """Raises ValueError where padding_mode is unknown."""
    if padding_mode not in PADDING_MODES:
        near = difflib.get_close_matches(padding_mode, PADDING_MODES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"padding_mode must be one of {', '.join(PADDING_MODES)}, got {padding_mode!r}.{hint}"
        )


def _check_shape(name, array, expected):
    matches = array.ndim == len(expected) and all(
        isinstance(want, str) or got == want for got, want in zip(array.shape, expected)
    )
    if not matches:
        raise ValueError(
            f"{name} must be [{', '.join(map(str, expected))}] beside this image,"
            f" got {list(array.shape)}. For a batch, jax.vmap the function."
        )
