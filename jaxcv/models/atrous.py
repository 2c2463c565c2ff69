"""Strides that become dilations, so that a network for classification gives finer maps.

Chen, Papandreou, Schroff, Adam, "Rethinking atrous convolution for semantic image segmentation",
2017 (DeepLab v3), section 3.1. A layer behind a stride that was left out looks that much farther:
at every second pixel (every fourth, where two strides were left out) it has the values that it has
behind the stride, from the same parameters. Not so behind what sees whole maps, as gates do whose
means then are of more places, and where a pool drops the last row of an odd map.
"""

_OUTPUT_STRIDES = (32, 16, 8)


def strides_and_dilation(strides, *, before, output_stride):
    """(strides, dilation) of a layer where maps have at most an `output_stride` of 16 or 8.

    Args:
        strides: of the layer in the published network.
        before: the product of the strides before it there.
        output_stride: 16 or 8; 32: all as published.

    Raises:
        ValueError: another output_stride.
    """
    if output_stride not in _OUTPUT_STRIDES:
        raise ValueError(f"output_stride must be 32, 16 or 8, got {output_stride}.")
    if output_stride == 32:  # as published, whatever the strides of a network with other settings
        return strides, 1
    left = min(strides * before, output_stride) // min(before, output_stride)
    return left, max(before // output_stride, 1)
