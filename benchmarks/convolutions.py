"""Times (transposed) convolution, pooling and batch norm beside torch in both of its layouts.

    taskset -c 0 python -m benchmarks.convolutions --peer-python=/path/to/python/with/torch

One core (taskset) or all. Batches of 8 in float32. "gradients" is the output and the gradients by
all inputs; a row is told apart by torch's layout: "contiguous" or "channels_last". --xla
times XLA's own convolution and its gradients in place of ours. Turns, figures and result files are
those of `benchmarks.ops`.
"""

import functools

import jax
import numpy as np
from absl import app, flags

from benchmarks import ops as bench
from benchmarks.ops_rows import Row
from jaxcv import ops

XLA = flags.DEFINE_bool("xla", False, "time XLA's own convolutions in place of ours")
_LAYOUTS = ("contiguous", "channels_last")

# name: (image side, channels, features, window, stride, padding, groups), and of each the goals
# forward and with gradients, beside contiguous and channels_last.
_CONVOLUTIONS = {
    "3x3 56x56 64": (56, 64, 64, 3, 1, 1, 1),
    "3x3 14x14 256": (14, 256, 256, 3, 1, 1, 1),
    "3x3 7x7 512": (7, 512, 512, 3, 1, 1, 1),
    "3x3 stride 2 56x56 128": (56, 128, 128, 3, 2, 1, 1),
    "7x7 stride 2 224x224 3 to 64": (224, 3, 64, 7, 2, 3, 1),
    "1x1 56x56 64 to 256": (56, 64, 256, 1, 1, 0, 1),
    "depthwise 3x3 112x112 32": (112, 32, 32, 3, 1, 1, 32),
    "depthwise 3x3 28x28 192": (28, 192, 192, 3, 1, 1, 192),
    "depthwise 3x3 stride 2 112x112 96": (112, 96, 96, 3, 2, 1, 96),
    "depthwise 5x5 14x14 480": (14, 480, 480, 5, 1, 2, 480),
    "32 groups 3x3 56x56 128": (56, 128, 128, 3, 1, 1, 32),
    "32 groups 3x3 14x14 512": (14, 512, 512, 3, 1, 1, 32),
    "2 groups 3x3 28x28 256": (28, 256, 256, 3, 1, 1, 2),
}
_GOALS = {  # by the first word: forward, gradients; beside contiguous, channels_last
    "3x3": ((0.9, 0.7), (0.7, 0.7)),
    "depthwise": ((1, 0.6), (1, 0.6)),
    "32": ((0.4, 0.3), (0.4, 0.3)),
    "transposed": ((0.8, 0.5), (0.8, 0.5)),
    "pool": (None, (3, 1)),
    "batch": (None, (2, 1.5)),
}
_TRANSPOSED = {  # name: (image side, channels, features, window, stride, padding, output padding)
    "transposed 2x2 stride 2 28x28 128 to 64": (28, 128, 64, 2, 2, 0, 0),
    "transposed 4x4 stride 2 16x16 256 to 128": (16, 256, 128, 4, 2, 1, 0),
    "transposed 3x3 stride 2 32x32 64 to 32": (32, 64, 32, 3, 2, 1, 1),
    "transposed 16x16 stride 8 28x28 21": (28, 21, 21, 16, 8, 4, 0),
}
_POOLS = {  # name: (image side, channels, window, stride, padding)
    "pool 3x3 stride 2 112x112 64": (112, 64, 3, 2, 1),
    "pool 2x2 stride 2 56x56 128": (56, 128, 2, 2, 0),
}
_BATCH_NORMS = {  # name: (image side, channels)
    "batch norm 112x112 64": (112, 64),
    "batch norm 28x28 512": (28, 512),
}


def rows():
    conv = _xla_conv if XLA.value else ops.conv
    for name, (side, channels, features, window, stride, padding, groups) in _CONVOLUTIONS.items():
        shapes = (8, side, side, channels), (window, window, channels // groups, features)
        ours = functools.partial(conv, strides=stride, padding=padding, groups=groups)
        options = {"stride": stride, "padding": padding, "groups": groups}
        yield from _both(name, "conv2d", shapes, ours, options)
    if XLA.value:
        return
    for name, (side, channels, features, window, stride, padding, more) in _TRANSPOSED.items():
        shapes = (8, side, side, channels), (window, window, channels, features)
        ours = functools.partial(
            ops.conv_transpose, strides=stride, padding=padding, output_padding=more
        )
        options = {"stride": stride, "padding": padding, "output_padding": more}
        yield from _both(name, "conv_transpose2d", shapes, ours, options)
    for name, (side, channels, window, stride, padding) in _POOLS.items():
        ours = functools.partial(ops.max_pool, window=window, strides=stride, padding=padding)
        options = {"kernel_size": window, "stride": stride, "padding": padding}
        yield from _with(name, "max_pool2d", [(8, side, side, channels)], ours, options, True)
    for name, (side, channels) in _BATCH_NORMS.items():
        shapes = [(8, side, side, channels), (channels,), (channels,)]
        yield from _with(name, "batch_norm", shapes, _batch_norm, {}, True)


def _batch_norm(image, scale, bias):
    return ops.batch_norm(image, scale, bias)[0]


def _xla_conv(image, kernel, *, strides, padding, groups):
    return jax.lax.conv_general_dilated(
        image,
        kernel,
        window_strides=(strides, strides),
        padding=[(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _both(name, peer, shapes, ours, options):
    for gradients in (False, True):
        yield from _with(name, peer, shapes, ours, options, gradients)


def _with(name, peer, shapes, ours, options, gradients):
    """The two rows of a form: one for each of torch's layouts."""
    goals = _GOALS.get(name.split()[0], (None, None))[gradients] or (None, None)
    for layout, goal in zip(_LAYOUTS, goals):
        yield Row(
            name=f"{name}, {'gradients' if gradients else 'forward'}, {layout}",
            inputs=functools.partial(_inputs, shapes, ours, gradients),
            ours=functools.partial(_pull, ours) if gradients else ours,
            peer=peer,
            options=options | {"channels_last": layout == "channels_last"},
            goal=goal,
        )


def _inputs(shapes, ours, gradients, rng):
    arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    if gradients:
        output = jax.eval_shape(ours, *arrays)
        arrays.append(rng.standard_normal(output.shape, dtype=np.float32))
    return tuple(arrays)


def _pull(function, *arguments):
    """The output and the gradients; the last argument is the output's cotangent."""
    *inputs, cotangent = arguments
    output, pull = jax.vjp(function, *inputs)
    return output, *pull(cotangent)


def main(_):
    bench.run("convolutions_xla" if XLA.value else "convolutions", tuple(rows()))


if __name__ == "__main__":
    app.run(main)
