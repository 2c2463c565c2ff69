"""The forward process at chosen timesteps, for training: noised images, targets, posterior.

Images are batches [B, ...] of one floating dtype, timesteps t are [B] int and may be traced; those
outside of 0..T-1 are taken at the nearest. a is `schedule.alphas_cumprod[t]`.
"""

import jax.numpy as jnp
import numpy as np

from jaxcv.samplers import predictions


def q_sample(x0, t, noise, schedule):
    """x[t] = sqrt(a) x0 + sqrt(1 - a) noise: images noised to timesteps t.

    Source: Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020, equation 4;
        diffusers' add_noise.
    """
    _check(t, x0=x0, noise=noise)
    signal, sigma = _levels(schedule, t, x0)
    return signal * x0 + sigma * noise


def velocity(x0, t, noise, schedule):
    """v = sqrt(a) noise - sqrt(1 - a) x0, the target of a model that predicts v.

    Source: Salimans and Ho, "Progressive distillation for fast sampling of diffusion models", 2022,
        appendix D; diffusers' get_velocity.
    """
    _check(t, x0=x0, noise=noise)
    signal, sigma = _levels(schedule, t, x0)
    return signal * noise - sigma * x0


def convert_prediction(prediction, x, t, schedule, *, given, wanted):
    """A model's prediction as one of another kind: [B, ...] -> [B, ...].

    Args:
        prediction: of the kind `given`.
        x: the noised images that it was made for.
        given, wanted: "epsilon" (the noise), "sample" (x0) or "v_prediction" (see `velocity`).

    Returns:
        Not finite where it does not follow: x0 and v from epsilon at a = 0.

    Raises:
        ValueError: an unknown kind, or shapes that do not fit.
    """
    _check(t, prediction=prediction, x=x)
    of_x, of_prediction = predictions.linear(given, wanted, *_levels(schedule, t, x))
    return of_x * x + of_prediction * prediction


def posterior(x0, x, t, schedule):
    """Mean [B, ...] and variance [B, 1, ...] of q(x[t-1] | x[t], x0).

    Args:
        x0: the clean images.
        x: the images noised to t.

    Source: Ho et al. 2020, equations 6 and 7. At t = 0 the mean is x0 and the variance 0.
    """
    _check(t, x0=x0, x=x)
    a, betas = schedule.alphas_cumprod, schedule.betas
    before = np.concatenate([[1.0], a[:-1]])
    of_x0 = np.sqrt(before) * betas / (1 - a)
    of_x = np.sqrt(1 - betas) * (1 - before) / (1 - a)
    variance = betas * (1 - before) / (1 - a)
    return _at(of_x0, t, x) * x0 + _at(of_x, t, x) * x, _at(variance, t, x)


def _levels(schedule, t, like):
    a = schedule.alphas_cumprod
    return _at(np.sqrt(a), t, like), _at(np.sqrt(1 - a), t, like)


def _at(table, t, like):
    """table[t] in the dtype of `like`, with axes to multiply it: [T] and [B] -> [B, 1, ...]."""
    rows = jnp.take(jnp.asarray(table, jnp.result_type(like)), t, mode="clip")
    return rows.reshape(-1, *[1] * (jnp.ndim(like) - 1))


def _check(t, **images):
    (name1, first), (name2, second) = images.items()
    if jnp.shape(first) != jnp.shape(second) or jnp.ndim(first) == 0:
        raise ValueError(
            f"{name1} and {name2} must be batches [B, ...] of one shape, got"
            f" {list(jnp.shape(first))} and {list(jnp.shape(second))}."
        )
    for name, image in images.items():
        if not jnp.issubdtype(jnp.result_type(image), jnp.floating):
            raise ValueError(f"{name} must be floating, got {jnp.result_type(image)}.")
    if jnp.shape(t) != jnp.shape(first)[:1] or not jnp.issubdtype(jnp.result_type(t), jnp.integer):
        raise ValueError(
            f"t must be [{len(first)}] int, a timestep for each example, got"
            f" {list(jnp.shape(t))} {jnp.result_type(t)}."
        )
