"""Running a sampler: one scan over the rows of its table, with one call of the model in each."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.samplers import noise as noises
from jaxcv.samplers.sampler import DynamicThreshold, check_sampler


def sample(model, x, sampler, *, key=None, noise=None, known=None, mask=None):
    """What the sampler makes of x: [B, ...] -> [B, ...].

    One `lax.scan`, a pure function of the arrays, for `jit`, `vmap` and `grad`. Jit what calls it:
    outside of jit every call traces and compiles the model anew.

    Args:
        model: function (x [B, ...], t [B]) -> prediction [B, ...], of the kind that the sampler was
            made for. t is floating, and whole but for the samplers in sigmas.
        x: [B, ...] floating, what the sampler starts from: noise of variance 1 times
            `sampler.init_noise_sigma`; for a sampler with a `start`, what `add_noise` gives; for
            `ddim_inversion`, images. Narrow types are for the model alone: steps are computed in
            float32 at least.
        sampler: Sampler.
        key: typed key of the noise. That of example i in a step depends on the key, the step and
            the place of the example in the batch over all devices (also those of a `pmap` over
            "device"), so samples do not depend on the number of devices.
        noise: instead, the draws themselves, of variance 1: [len(sampler), B, ...], one for each
            call of the model. Those of calls that draw nothing are ignored.
        known: [B, ...], clean images of which a part stays (inpainting). With it goes
        mask: bool, of a shape that broadcasts to x: what stays. After each step x there is `known`
            noised to the level of that step by the step's draw; at the level of x0, `known`.

    Returns:
        The last x, in the dtype of x: images, for samplers that end at x0.

    Raises:
        ValueError: shapes or dtypes that do not fit, no noise for a sampler that draws, or two.

    Cost: `len(sampler)` calls of the model.
    """
    return _run(model, x, sampler, key, noise, known, mask, trajectory=False)[0]


def sample_trajectory(model, x, sampler, *, key=None, noise=None, known=None, mask=None):
    """All that `sample` of the same arguments goes through: a dict.

    Returns:
        x: [N + 1, B, ...], before the first and after each of the N calls of the model.
        x0: [N, B, ...], the images that each call predicted, clipped where the sampler clips.
    """
    _, (x_after, x0) = _run(model, x, sampler, key, noise, known, mask, trajectory=True)
    return {"x": jnp.concatenate([jnp.asarray(x)[None], x_after]), "x0": x0}


def _run(model, x, sampler, key, noise, known, mask, *, trajectory):
    """The last x, and (x, x0) of all calls, or None without `trajectory`."""
    x = _checked_start(x, sampler)
    shown = x.dtype  # what the model and the caller see
    x = x.astype(jnp.promote_types(shown, jnp.float32))
    inpaint = _inpainting(x, known, mask)
    needed = sampler.draws or known is not None
    draw, drawn = _noise_source(x, sampler, key, noise, needed=needed)
    forms = {"clean": sampler.clean, "step": sampler.step, "record": sampler.record}
    forms = {name: form for name, form in forms.items() if form is not None}
    remembers = sampler.record is not None
    live = {name: np.flatnonzero(np.any(form, axis=0)) for name, form in forms.items()}

    def combined(name, row, parts):
        return sum(row[name][i] * parts[j] for i, j in enumerate(live[name]))

    def body(carry, row):
        x, past = carry
        given = row["scale"] * x if "scale" in row else x
        output = model(given.astype(shown), jnp.full(len(x), row["timestep"]))
        output, deviation = _split(output, x, sampler, row)
        z = draw(row)
        parts = [x, output, z if deviation is None else deviation * z, None, *past]
        parts[3] = x0 = _clipped(combined("clean", row, parts), sampler.clip)
        if remembers:
            record = combined("record", row, parts)
            past = jax.lax.dynamic_update_index_in_dim(past, record, row["slot"], 0)
            parts[4:] = past
        after = inpaint(combined("step", row, parts), z, row)
        return (after, past), (after.astype(shown), x0.astype(shown)) if trajectory else None

    numbers = {
        "timestep": sampler.timesteps,
        "scale": sampler.scale,
        "levels": None if known is None else sampler.levels[1:],
        "log_variance": sampler.log_variance,
        **{name: form[:, live[name]] for name, form in forms.items()},
    }
    rows = {name: jnp.asarray(a, x.dtype) for name, a in numbers.items() if a is not None}
    rows |= drawn
    past = ()
    if remembers:
        rows["slot"] = jnp.asarray(sampler.slot)
        # Made of x, so that it lies on the devices as x does.
        past = jnp.stack([0 * x] * (1 + int(sampler.slot.max())))
    (last, _), states = jax.lax.scan(body, (x, past), rows)
    return last.astype(shown), states


def _noise_source(x, sampler, key, noise, *, needed):
    """A function row -> noise of the call, and what it wants of the rows, {name: [N, ...]}."""
    if key is not None and noise is not None:
        raise ValueError("key and noise are two sources of the same noise: give one.")
    if not needed:
        return lambda row: None, {}
    if noise is not None:
        shape = (len(sampler), *x.shape)
        if jnp.shape(noise) != shape:
            raise ValueError(
                f"noise must be {list(shape)}, one draw for each call of the model, got"
                f" {list(jnp.shape(noise))}."
            )
        return lambda row: row["noise"], {"noise": jnp.asarray(noise, x.dtype)}
    if key is None:
        raise ValueError("key or noise must be given: this run draws noise.")
    draw = noises.of_key(key, x.shape, x.dtype)
    return lambda row: draw(row["number"]), {"number": sampler.start + jnp.arange(len(sampler))}


def _inpainting(x, known, mask):
    """(x after a step, noise, row) -> x with what is known in its place."""
    if (known is None) != (mask is None):
        raise ValueError("known and mask belong together: give both or neither.")
    if known is None:
        return lambda x, z, row: x
    known, mask = jnp.asarray(known), jnp.asarray(mask)
    if known.shape != x.shape:
        raise ValueError(f"known must be {list(x.shape)}, as x, got {list(known.shape)}.")
    if mask.dtype != bool or _broadcast(mask.shape, x.shape) != x.shape:
        raise ValueError(
            f"mask must be bool and broadcast to {list(x.shape)}, got {list(mask.shape)}"
            f" {mask.dtype}."
        )

    def inpaint(x, z, row):
        signal, sigma = row["levels"]
        return jnp.where(mask, signal * known.astype(x.dtype) + sigma * z, x)

    return inpaint


def _broadcast(*shapes):
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _split(output, x, sampler, row):
    """The model's output in the dtype of x, and the deviation of the noise where it is learned."""
    learned = sampler.log_variance is not None
    shape = (*x.shape[:-1], x.shape[-1] * (1 + learned))
    if jnp.shape(output) != shape:
        twice = ", twice the channels of x for a learned variance" if learned else " like x"
        raise ValueError(f"model must return {list(shape)}{twice}, got {list(jnp.shape(output))}.")
    output = output.astype(x.dtype)
    if not learned:
        return output, None
    output, fraction = jnp.split(output, 2, axis=-1)
    low, high = row["log_variance"]
    return output, jnp.exp(0.5 * (low + (high - low) * (fraction + 1) / 2))


def _clipped(x0, clip):
    if clip is None:
        return x0
    if not isinstance(clip, DynamicThreshold):
        return jnp.clip(x0, -clip, clip)
    size = jnp.abs(x0).reshape(len(x0), -1)
    limit = jnp.clip(jnp.quantile(size, clip.ratio, axis=1), 1, clip.maximum)
    limit = limit.reshape(-1, *[1] * (x0.ndim - 1))
    return jnp.clip(x0, -limit, limit) / limit


def _checked_start(x, sampler):
    check_sampler(sampler)
    x = jnp.asarray(x)
    if x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be a batch [B, ...] of floats, got {list(x.shape)} {x.dtype}.")
    return x
