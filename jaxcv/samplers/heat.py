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
            by a factor of 4 len(axes) rate - 1 each step. Negative: backwards in time.
        steps: how many.
        axes: those along which heat flows.
        boundary: "insulated" or "periodic".
        allow_unstable: take any rate.

    Raises:
        ValueError: a rate outside of the stable 0..1 / (2 len(axes)), an unknown boundary, ...
    """
    _check(image, axes, boundary)
    check_whole(0, steps=steps)
    limit = 1 / (2 * len(axes))
    if not (0 <= rate <= limit or allow_unstable):
        raise ValueError(
            f"rate must be within 0..{limit:g}, where {len(axes)} axes are stable, got {rate:g}:"
            " take more and smaller steps, or allow_unstable=True to watch it fail."
        )
    mode = {"insulated": "edge", "periodic": "wrap"}[boundary]
    return _stepped(jnp.asarray(image), rate, steps=steps, axes=tuple(axes), mode=mode)


def heat(image, *, time, axes=(0, 1), boundary="insulated"):
    """The image after a time, exactly: each wave times e^(-its rate time).

    Args:
        image, axes, boundary: as of `heat_steps`.
        time: D t / h^2. Negative: back in time, where rounding too grows by up to
            e^(-4 len(axes) time).

    Raises:
        ValueError: as of `heat_steps`.
    """
    return _on_waves(lambda rates: np.exp(-rates * time), image, axes, boundary)


def invert_heat_steps(image, *, rate, steps, axes=(0, 1), boundary="insulated"):
    """The image that `heat_steps` of the same options makes `image` from: the linear solution.

    In exact arithmetic. Each wave is divided by (1 - its rate rate)^steps, a checkerboard by
    (1 - 4 len(axes) rate)^steps, and what rounding left of it too.

    Raises:
        ValueError: as of `heat_steps`.
    """
    check_whole(0, steps=steps)
    return _on_waves(lambda rates: (1 - rate * rates) ** -float(steps), image, axes, boundary)


# Jitted, so that a call outside of `jit` does not compile the loop anew.
@functools.partial(jax.jit, static_argnames=("steps", "axes", "mode"))
def _stepped(image, rate, *, steps, axes, mode):
    def step(_, u):
        return u + rate * sum(_second_difference(u, axis, mode) for axis in axes)

    return jax.lax.fori_loop(0, steps, step, image)


def _second_difference(u, axis, mode):
    widths = [(0, 0)] * u.ndim
    widths[axis] = (1, 1)
    size = u.shape[axis]
    low, high = (
        jax.lax.slice_in_dim(jnp.pad(u, widths, mode), i, i + size, axis=axis) for i in (0, 2)
    )
    return low - 2 * u + high


def _on_waves(factor, image, axes, boundary):
    """The image with each of its waves multiplied by factor(its rate), NumPy to NumPy."""
    _check(image, axes, boundary)
    waves = {axis: _WAVES[boundary](jnp.shape(image)[axis]) for axis in axes}
    total = np.zeros((1,) * jnp.ndim(image))
    for axis, (_, rates) in waves.items():
        total = total + np.expand_dims(rates, [i for i in range(jnp.ndim(image)) if i != axis])
    u = jnp.asarray(image)
    for axis, (basis, _) in waves.items():
        u = _along(basis, u, axis)
    u = u * jnp.asarray(factor(total), u.dtype)
    for axis, (basis, _) in waves.items():
        u = _along(basis.T, u, axis)
    return u


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


def _check(image, axes, boundary):
    check_known(_WAVES, boundary, argument="boundary")
    shape, dtype = jnp.shape(image), jnp.result_type(image)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"image must be floating, got {dtype}.")
    if not axes or len(set(axes)) < len(axes) or not all(0 <= axis < len(shape) for axis in axes):
        raise ValueError(f"axes must be different axes of an image {list(shape)}, got {axes}.")
