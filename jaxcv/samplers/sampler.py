"""What a sampler is: a table of numbers, with a row for each call of the model."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxcv.samplers.choose import check_positive
from jaxcv.samplers.forms import NOISE


@dataclasses.dataclass(frozen=True)
class DynamicThreshold:
    """Clipping of x0, for pixels, to a quantile of |x0| in each example, which then becomes 1.

    x0 is clipped to [-s, s] and divided by s: the quantile, but 1 at least and `maximum` at most.

    Attributes:
        ratio: which quantile, within 0..1.
        maximum: 1 or more.

    Source: Saharia et al., "Photorealistic text-to-image diffusion models with deep language
        understanding", 2022, section 2.3; diffusers' dynamic_thresholding_ratio, sample_max_value.
    """

    ratio: float = 0.995
    maximum: float = 1.0

    def __post_init__(self):
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"ratio must be within 0..1, got {self.ratio!r}.")
        if not 1 <= self.maximum < np.inf:
            raise ValueError(f"maximum must be a finite number, 1 or more, got {self.maximum!r}.")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sampler:
    """What `sample` runs: `ddpm`, `ddim`, `dpm_solver`, `pndm`, `euler`, ... make it.

    Attributes:
        timesteps: [N] float64, what the model is told in each of its N calls.
        levels: [N + 1, 2], signal and sigma of x = signal x0 + sigma noise, before the first and
            after each call.
        scale: [N], x is multiplied by it for the model; None: by 1.
        clean, step, record: [N, WIDTH], linear forms; see `forms.py`. None: nothing is recorded.
        slot: [N] int, where `record` goes.
        clip: of x0: None, a number (to [-clip, clip]) or a DynamicThreshold.
        log_variance: None or [N, 2]: the model returns a second half of channels, -1..1, that lie
            between these two logarithms of the variance of the noise.
        init_noise_sigma: noise of variance 1 times this is an x to start from.
        start: which step of the whole run the first is.
    """

    timesteps: np.ndarray
    levels: np.ndarray
    clean: np.ndarray
    step: np.ndarray
    scale: np.ndarray | None = None
    record: np.ndarray | None = None
    slot: np.ndarray | None = None
    clip: float | DynamicThreshold | None = None
    log_variance: np.ndarray | None = None
    init_noise_sigma: float = 1.0
    start: int = 0

    def __post_init__(self):
        if self.clip is not None and not isinstance(self.clip, DynamicThreshold):
            check_positive(clip=self.clip)

    def __len__(self):
        """How often the model is called."""
        return len(self.timesteps)

    @property
    def draws(self):
        """Whether it draws noise: a bool."""
        return bool(np.any([self.step @ NOISE, self.clean @ NOISE]))


def add_noise(x0, noise, sampler):
    """Images noised to the level at which the sampler starts: [B, ...] -> x [B, ...].

    For a sampler with a `start`, from an image rather than from noise alone.

    Raises:
        ValueError: different shapes, or another kind of sampler.
    """
    if jnp.shape(x0) != jnp.shape(noise):
        raise ValueError(
            f"x0 and noise must have one shape, got {list(jnp.shape(x0))} and"
            f" {list(jnp.shape(noise))}."
        )
    check_sampler(sampler)
    signal, sigma = sampler.levels[0]
    return float(signal) * x0 + float(sigma) * noise


def check_sampler(sampler):
    """Nothing, for a Sampler.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(sampler, Sampler):
        raise ValueError(
            f"sampler must be what ddpm, ddim, dpm_solver, ... return, got {type(sampler).__name__}"
        )
