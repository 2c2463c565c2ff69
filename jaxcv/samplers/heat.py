"""The heat equation on an image, to be held against diffusion: it blurs, and cannot be undone.

du/dt = D (sum over the axes of d2u/dx2) on pixels a distance h apart, with the Laplacian of the
neighbours: along an axis u[i-1] - 2 u[i] + u[i+1]. Over the edge lies a copy of the edge pixel
("insulated": no heat leaves) or the other end ("periodic"). Every image is a sum of waves, those of
the cosine or the Fourier basis, and each decays at a rate of its own.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.samplers.choose import check_known, check_whole


def heat_steps(image, *, rate, steps, axes=(0, 1), boundary="insulated", allow_unstable=False):
    """The image after steps of the explicit scheme u + rate Laplacian(u): the same shape.

    Args:
        image: floating, [H, W, C] with the default axes.
        rate: D dt / h^2. Up to 1 / (2 len(axes)) the scheme is stable; beyond, a checkerboard grows
            by a factor of 4 len(axes) rate - 1 each step. Negative: backwards in time. May be
            traced, with allow_unstable.
        steps: how many.
        axes: those along which heat flows.
        boundary: "insulated" or "periodic".
        allow_unstable: take any rate.

    Returns:
        Of the image's shape and dtype. What is narrower than float32 is computed in float32.

    Raises:
        ValueError: a rate outside of the stable 0..1 / (2 len(axes)), an unknown boundary, ...
    """
    _check(image, axes, boundary)
    rate = _checked_rate(rate, axes, allow_unstable)
    check_whole(0, steps=steps)
    mode = {"insulated": "edge", "periodic": "wrap"}[boundary]
    return _stepped(jnp.asarray(image), rate, steps=steps, axes=tuple(axes), mode=mode)


def heat(image, *, time, axes=(0, 1), boundary="insulated"):
    """The image after a time, exactly: each wave times e^(-its rate time).

    Args:
        image, axes, boundary: as of `heat_steps`.
        time: D t / h^2, a number or traced. Negative: back in time, where rounding too grows by up
            to e^(-4 len(axes) time).

    Raises:
        ValueError: as of `heat_steps`.
    """
    _check(image, axes, boundary)
    exp = jnp.exp if isinstance(time, jax.Array) else np.exp  # a number's in double precision
    return _on_waves(lambda rates: exp(-rates * time), image, axes, boundary)


def invert_heat_steps(
    image, *, rate, steps, axes=(0, 1), boundary="insulated", allow_unstable=False
):
    """The image that `heat_steps` of the same options makes `image` from: the linear solution.

    In exact arithmetic. Each wave is divided by (1 - its rate rate)^steps, a checkerboard by
    (1 - 4 len(axes) rate)^steps, and what rounding left of it too. A step of some rates takes a
    wave away, as one of 0.25 does those with the rate 4: they cannot be undone, and where such a
    rate is traced the image is not finite.

    Raises:
        ValueError: as of `heat_steps`, or a rate that takes one of the image's waves away.
    """
    _check(image, axes, boundary)
    rate = _checked_rate(rate, axes, allow_unstable)
    check_whole(0, steps=steps)

    def factor(rates):
        left = 1 - rate * rates  # of each wave, after a step
        if steps and isinstance(left, np.ndarray) and np.abs(left).min() < 1e-12:
            raise ValueError(
                f"rate must leave something of every wave, got {rate:g}, at which a step takes some"
                f" of an image {list(jnp.shape(image))} away for good: take another rate."
            )
        return left ** -float(steps)

    return _on_waves(factor, image, axes, boundary)


# Jitted, so that a call outside of `jit` does not compile the loop anew.
@functools.partial(jax.jit, static_argnames=("steps", "axes", "mode"))
def _stepped(image, rate, *, steps, axes, mode):
    u = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    rate = jnp.asarray(rate, u.dtype)

    def step(_, u):
        return u + rate * sum(_second_difference(u, axis, mode) for axis in axes)

    return jax.lax.fori_loop(0, steps, step, u).astype(image.dtype)


def _second_difference(u, axis, mode):
    widths = [(0, 0)] * u.ndim
    widths[axis] = (1, 1)
    size = u.shape[axis]
    low, high = (
        jax.lax.slice_in_dim(jnp.pad(u, widths, mode), i, i + size, axis=axis) for i in (0, 2)
    )
    return low - 2 * u + high


def _on_waves(factor, image, axes, boundary):
    """The image with each of its waves multiplied by factor(its rate)."""
    waves = {axis: _WAVES[boundary](jnp.shape(image)[axis]) for axis in axes}
    total = np.zeros((1,) * jnp.ndim(image))
    for axis, (_, rates) in waves.items():
        total = total + np.expand_dims(rates, [i for i in range(jnp.ndim(image)) if i != axis])
    image = jnp.asarray(image)
    u = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    for axis, (basis, _) in waves.items():
        u = _along(basis, u, axis)
    u = u * jnp.asarray(factor(total), u.dtype)
    for axis, (basis, _) in waves.items():
        u = _along(basis.T, u, axis)
    return u.astype(image.dtype)


def _along(matrix, u, axis):
    product = jnp.tensordot(
        jnp.asarray(matrix, u.dtype), u, (1, axis), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.moveaxis(product, 0, axis)


def _cosines(size):
    """Orthonormal waves [size, size], one a row, and their rates [size]."""
    k, i = np.arange(size), np.arange(size)
    basis = np.cos(np.pi * np.outer(k, i + 0.5) / size) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis, 2 - 2 * np.cos(np.pi * k / size)


def _periodic_waves(size):
    """As `_cosines`: cos + sin, which are orthogonal too and real (Hartley)."""
    angle = 2 * np.pi * np.outer(np.arange(size), np.arange(size)) / size
    return (np.cos(angle) + np.sin(angle)) / np.sqrt(size), 2 - 2 * np.cos(angle[1 % size])


_WAVES = {"insulated": _cosines, "periodic": _periodic_waves}


def _checked_rate(rate, axes, allow_unstable):
    """The rate, as a float where it is not traced."""
    limit = 1 / (2 * len(axes))
    traced = isinstance(rate, jax.core.Tracer)
    if traced and not allow_unstable:
        raise ValueError(
            f"rate must be known to be within 0..{limit:g}, got a traced one:"
            " allow_unstable=True takes it as it is."
        )
    rate = rate if traced else float(rate)
    if not (allow_unstable or 0 <= rate <= limit):
        raise ValueError(
            f"rate must be within 0..{limit:g}, where {len(axes)} axes are stable, got {rate:g}:"
            " take more and smaller steps, or allow_unstable=True to watch it fail."
        )
    return rate


def _check(image, axes, boundary):
    check_known(_WAVES, boundary, argument="boundary")
    shape, dtype = jnp.shape(image), jnp.result_type(image)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"image must be floating, got {dtype}.")
    if not axes or len(set(axes)) < len(axes) or not all(0 <= axis < len(shape) for axis in axes):
        raise ValueError(f"axes must be different axes of an image {list(shape)}, got {axes}.")
