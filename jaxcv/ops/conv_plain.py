"""The three products of `conv_primitives` by XLA's own, for every geometry."""

from typing import NamedTuple

import jax

from jaxcv.ops.linear_map import zeros_alike

_LAYOUTS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}
RANKS = tuple(_LAYOUTS)


class Geometry(NamedTuple):
    """Options of a convolution in full; a tuple has one entry for each spatial axis, if any."""

    size: tuple  # of the image
    window: tuple  # of the kernel
    strides: tuple
    padding: tuple  # of pairs (low, high)
    dilation: tuple
    groups: int
    precision: str | None  # of jax.default_matmul_precision where it was called


def forward(x, w, geometry):
    """The convolution: [B, *size, C] and [*window, C / groups, D] -> [B, *counts, D]."""
    if not geometry.window:
        return x @ w
    return jax.lax.conv_general_dilated(
        x,
        w,
        window_strides=geometry.strides,
        padding=geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_LAYOUTS[len(geometry.size)],
        feature_group_count=geometry.groups,
    )


def image_gradient(y, w, geometry):
    """Its transpose in the image."""
    channels = w.shape[-2] * geometry.groups
    x = zeros_alike((y.shape[0], *geometry.size, channels), y)
    return jax.linear_transpose(lambda x: forward(x, w, geometry), x)(y)[0]


def kernel_gradient(x, y, geometry):
    """Its transpose in the kernel."""
    channels = x.shape[-1] // geometry.groups
    w = zeros_alike((*geometry.window, channels, y.shape[-1]), x)
    return jax.linear_transpose(lambda w: forward(x, w, geometry), w)(y)[0]
