"""Batch and group normalisation: by the mean and variance of what is given."""

import functools

import jax
import jax.numpy as jnp

from jaxcv.ops import fusion, linear_map
from jaxcv.ops.blocks import largest_divisor
from jaxcv.ops.program import one_program

# Values of arrays (of one image, for groups) that XLA's own sums on a CPU take as fast, compiled
# sooner.
_SMALL = 1 << 17
_BLOCK = 4096  # values of the running sums on a CPU, which stay in its nearest cache
_ROUNDS = 4  # blocks of one step: the running sums are read and written once for all of them


@one_program("epsilon", "axis_name")
def batch_norm(inputs, scale=None, bias=None, *, epsilon=1e-5, axis_name=None):
    """Each channel to mean 0 and variance 1 over all other axes: [..., C] -> three arrays.

    outputs = (inputs - mean) / sqrt(variance + epsilon) * scale + bias.

    Args:
        inputs: [..., C] float.
        scale, bias: [C], by default 1 and 0.
        epsilon: added to the variance.
        axis_name: of a mapped axis (of `jax.pmap`, `shard_map` or `vmap`) over which the batch is
            spread: mean and variance are those of the whole.

    Returns:
        outputs: [..., C], of the widest dtype of the arrays, float32 at least.
        mean: [C].
        variance: [C], biased, in two passes: no digits are lost where the mean is large.

    Raises:
        ValueError: inputs that are not floating or have no values; scale or bias of another shape.

    Source: Ioffe, Szegedy, "Batch normalization", 2015, algorithm 1 and the gradients below it;
        torch.nn.functional.batch_norm with training=True.
    Cost: two passes to read and one to write, in reverse one to read and one to write. What is kept
        for it are the inputs.
    """
    arrays = _checked(inputs, scale, bias, among="all")
    norm = _norm_of(*arrays)
    return norm(*arrays, epsilon, arrays[0].shape[-1], axis_name)


@one_program("num_groups", "epsilon")
def group_norm(inputs, num_groups, scale=None, bias=None, *, epsilon=1e-5):
    """Each image's runs of channels to mean 0 and variance 1: [B, ..., C] -> the same.

    Args:
        inputs: [B, ..., C] float.
        num_groups: how many runs the channels are cut into. C of them: instance normalisation.
        scale, bias: [C], by default 1 and 0.
        epsilon: added to the variance.

    Returns:
        [B, ..., C], of the widest dtype of the arrays, float32 at least.

    Raises:
        ValueError: as `batch_norm`; channels that the groups do not divide.

    Source: Wu, He, "Group normalization", 2018; torch.nn.functional.group_norm.
    Cost: that of `batch_norm`.
    """
    inputs, scale, bias = _checked(inputs, scale, bias, among="each")
    channels = inputs.shape[-1]
    if inputs.ndim < 2 or num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"num_groups must divide the channels of inputs [B, ..., C], got {num_groups} and"
            f" {list(inputs.shape)}."
        )
    if not inputs.size:
        return inputs
    norm = _norm_of(inputs, scale, bias)
    return jax.vmap(lambda image: norm(image, scale, bias, epsilon, num_groups, None)[0])(inputs)


def _checked(inputs, scale, bias, *, among):
    """All in one dtype, with values among "all" inputs or in "each" image; a number a channel."""
    inputs = jnp.asarray(inputs)
    needed = inputs.shape if among == "all" else inputs.shape[1:]
    if not jnp.issubdtype(inputs.dtype, jnp.floating) or not inputs.ndim or 0 in needed:
        raise ValueError(
            f"inputs must be [..., C] floating with values, got {list(inputs.shape)} {inputs.dtype}"
        )
    channels = inputs.shape[-1:]
    scale = jnp.ones(channels, inputs.dtype) if scale is None else jnp.asarray(scale)
    bias = jnp.zeros(channels, inputs.dtype) if bias is None else jnp.asarray(bias)
    for name, array in (("scale", scale), ("bias", bias)):
        if array.shape != channels:
            raise ValueError(f"{name} must be {list(channels)}, got {list(array.shape)}.")
    dtype = jnp.result_type(inputs, scale, bias, jnp.float32)
    return [array.astype(dtype) for array in (inputs, scale, bias)]


def _norm_of(*arrays):
    """`_norm`; over an explicit mesh JAX's own derivatives, which know how an array lies there."""
    return _plain_norm if any(map(fusion.is_sharded, arrays)) else _norm


def _plain_norm(inputs, scale, bias, epsilon, groups, axis_name):
    """Of [..., C]: outputs, and of each channel, [C], the mean and variance of its group."""
    mean_of = functools.partial(_mean, inputs=inputs, groups=groups, axis_name=axis_name)
    mean = mean_of(channel_sums(lambda x: (x,), inputs)[0])
    variance = mean_of(channel_sums(lambda x: (jnp.square(x - mean),), inputs)[0])
    multiplier = scale * jax.lax.rsqrt(variance + epsilon)
    return (inputs - mean) * multiplier + bias, mean, variance


_norm = jax.custom_jvp(_plain_norm, nondiff_argnums=(3, 4, 5))


@_norm.defjvp
def _norm_jvp(epsilon, groups, axis_name, primals, tangents):
    """Such that in reverse two sums are left, of the cotangent and of it times the inputs."""
    inputs, scale, _ = primals
    by_inputs, by_scale, by_bias = tangents
    outputs, mean, variance = _norm(*primals, epsilon, groups, axis_name)
    mean_of = functools.partial(_mean, inputs=inputs, groups=groups, axis_name=axis_name)
    by_mean, half_by_variance = mean_of(_moments(by_inputs, inputs, mean))
    inverse = jax.lax.rsqrt(variance + epsilon)
    by_multiplier = by_scale * inverse - scale * inverse**3 * half_by_variance
    multiplier = scale * inverse
    moved = jnp.stack([by_bias - multiplier * by_mean, by_multiplier])
    by_outputs = multiplier * by_inputs + _lines(moved, inputs, mean)
    return (outputs, mean, variance), (by_outputs, by_mean, 2 * half_by_variance)


def _mean(sums, *, inputs, groups, axis_name):
    """Sums of channels, [..., C], over how many values their groups have, for each channel."""
    mean = sums / (inputs.size // inputs.shape[-1])
    if groups < inputs.shape[-1]:
        mean = _group_means(mean, groups=groups)
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


def channel_sums(function, *arrays):
    """Sums over all axes but the last of what `function` makes of arrays: [..., C] -> [C] each.

    Args:
        function: of arrays [..., C] to a tuple of arrays of that shape, each element from those in
            its place.
        *arrays: [..., C] each, of one shape.

    Cost: one pass. On a CPU a loop over blocks of rows: XLA's own sum there takes two to three
        times as long, and makes an array of what it sums first. A batch that `jit` spreads over
        several CPU devices is gathered for it.
    """
    if arrays[0].size < _SMALL or any(map(fusion.is_sharded, arrays)):
        return _sums_at_once(function, *arrays)
    in_blocks, at_once = (
        functools.partial(sums, function) for sums in (_sums_in_blocks, _sums_at_once)
    )
    return jax.lax.platform_dependent(*arrays, cpu=in_blocks, default=at_once)


def _sums_at_once(function, *arrays):
    return [array.sum(tuple(range(array.ndim - 1))) for array in function(*arrays)]


def _sums_in_blocks(function, *arrays):
    arrays = [array.reshape(-1, array.shape[-1]) for array in arrays]
    count, channels = arrays[0].shape
    most = max(_BLOCK // channels, 1)
    rows = largest_divisor(count, most)
    if rows <= most // 2:
        rows = most  # and those left over by themselves
    blocks = count // rows
    rounds = largest_divisor(blocks, _ROUNDS)

    def block(number):
        return function(*(jax.lax.dynamic_slice_in_dim(a, number * rows, rows) for a in arrays))

    def add(step, sums):
        for number in range(rounds):
            sums = [a + b for a, b in zip(sums, block(step * rounds + number))]
        return sums

    zeros = [jnp.zeros_like(array) for array in block(0)]
    sums = jax.lax.fori_loop(0, blocks // rounds, add, zeros)
    sums = [array.sum(0) for array in sums]
    if count % rows:
        over = _sums_at_once(function, *(array[blocks * rows :] for array in arrays))
        sums = [a + b for a, b in zip(sums, over)]
    return sums


def _pooled(values, *, groups):
    """Each run's mean in place of its values: [..., C]."""

    def pool(values):
        runs = values.reshape(*values.shape[:-1], groups, -1)
        return jnp.broadcast_to(runs.mean(-1, keepdims=True), runs.shape).reshape(values.shape)

    # On a CPU not once more for every value that it is taken from.
    return fusion.apart(pool, values)


def _sums_with_inputs(values, inputs, mean):
    """Of values, and of values times inputs - mean: [..., C] twice, [C] -> [2, C]."""
    return jnp.stack(channel_sums(lambda v, x: (v, v * (x - mean)), values, inputs))


def _lines_over_inputs(coefficients, inputs, mean):
    """Of each channel a + b (input - mean): [2, C], [..., C], [C] -> [..., C]."""
    return coefficients[0] + coefficients[1] * (inputs - mean)


def _by_inputs_in_sums(tangent, values, inputs, mean):
    del inputs
    return jnp.stack([jnp.zeros_like(mean), _moments(tangent, values, jnp.zeros_like(mean))[1]])


def _by_mean_in_sums(tangent, values, inputs, mean):
    return jnp.stack([jnp.zeros_like(mean), -tangent * _moments(values, inputs, mean)[0]])


def _by_inputs_in_lines(tangent, coefficients, inputs, mean):
    del inputs, mean
    return coefficients[1] * tangent


def _by_mean_in_lines(tangent, coefficients, inputs, mean):
    del mean
    return jnp.broadcast_to(-coefficients[1] * tangent, inputs.shape)


# The two are each other's transposes.
_moments = linear_map.primitive(
    "channel_moments",
    _sums_with_inputs,
    lambda values, inputs, mean: (2, *mean),
    lambda cotangent, inputs, mean: _lines(cotangent, inputs, mean),
    tangents=(_by_inputs_in_sums, _by_mean_in_sums),
)
_lines = linear_map.primitive(
    "channel_lines",
    _lines_over_inputs,
    lambda coefficients, inputs, mean: inputs,
    lambda cotangent, inputs, mean: _moments(cotangent, inputs, mean),
    tangents=(_by_inputs_in_lines, _by_mean_in_lines),
)
# Its own transpose.
_group_means = linear_map.primitive(
    "group_means",
    _pooled,
    lambda values, *, groups: values,
    lambda cotangent, *, groups: _group_means(cotangent, groups=groups),
    options=("groups",),
)
