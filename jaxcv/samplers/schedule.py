"""Noise schedules: how much of the image is left at each timestep. NumPy, float64, on the host.

x[t] = sqrt(a[t]) x0 + sqrt(1 - a[t]) noise, where a = alphas_cumprod, the product of 1 - beta up to
t. Timestep 0 is the first noisy one, T - 1 the noisiest.
"""

import dataclasses
import functools

import jax
import numpy as np

from jaxcv.samplers.choose import check_whole, choose


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule of T timesteps.

    Attributes:
        betas: [T] within 0..1, the variance that each timestep adds. 1 ends in pure noise, and may
            only come last.
        name: of the formula that made it, "" for betas of one's own.

    Raises:
        ValueError: betas that are not concrete, not [T], or out of range.
    """

    betas: np.ndarray
    name: str = ""

    def __post_init__(self):
        if isinstance(self.betas, jax.core.Tracer):
            raise ValueError(
                "betas must be concrete: coefficients are computed on the host. Make the schedule"
                " outside of jit."
            )
        betas = np.array(self.betas, np.float64)
        if betas.ndim != 1 or len(betas) == 0:
            raise ValueError(f"betas must be [T], one for each timestep, got {list(betas.shape)}.")
        if not (np.all((betas > 0) & (betas <= 1)) and np.all(betas[:-1] < 1)):
            raise ValueError(
                f"betas must lie in (0, 1), the last may be 1, got {betas.min():g}..{betas.max():g}"
            )
        betas.setflags(write=False)
        object.__setattr__(self, "betas", betas)

    def __len__(self):
        return len(self.betas)

    @functools.cached_property
    def alphas_cumprod(self):
        """[T]: the share of the image in the variance of x[t]."""
        return np.cumprod(1 - self.betas)

    @functools.cached_property
    def snr(self):
        """[T]: a / (1 - a), the signal-to-noise ratio."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)

    @functools.cached_property
    def sigmas(self):
        """[T]: sqrt((1 - a) / a), the noise beside an image of scale 1; inf where a is 0."""
        with np.errstate(divide="ignore"):
            return np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)


def noise_schedule(
    name, *, train_steps=1000, beta_start=None, beta_end=None, zero_terminal_snr=False
):
    """The Schedule called `name`.

    Args:
        name: "linear" (Ho et al. 2020), "scaled_linear" (the square root is linear; Stable
            Diffusion with 0.00085 and 0.012), "cosine" alias "squaredcos_cap_v2" (Nichol and
            Dhariwal 2021), "sigmoid" (a logistic curve from -6 to 6; Xu et al., "GeoDiff", 2022).
        train_steps: T.
        beta_start, beta_end: the first and last beta, 1e-4 and 0.02 if None; "cosine" has none.
        zero_terminal_snr: shift and scale the square root of alphas_cumprod so that it keeps its
            first value and ends at 0 (Lin et al., "Common diffusion noise schedules and sample
            steps are flawed", 2023, algorithm 1). A model that predicts epsilon cannot start there.

    Raises:
        ValueError: an unknown name, or numbers out of range.

    Source: diffusers' `betas` of the same names, in float64.
    """
    make = choose(_SCHEDULES, name, argument="name")
    check_whole(train_steps=train_steps)
    if make is _cosine:
        if (beta_start, beta_end) != (None, None):
            raise ValueError(f"{name!r} has no beta_start and beta_end: leave them None.")
        betas = _cosine(train_steps)
    else:
        start = 1e-4 if beta_start is None else beta_start
        end = 0.02 if beta_end is None else beta_end
        if not 0 < start <= end < 1:
            raise ValueError(
                f"betas must rise within (0, 1), got beta_start {start} and beta_end {end}."
            )
        betas = make(start, end, train_steps)
    if zero_terminal_snr:
        betas = _zero_terminal_snr(betas)
    return Schedule(betas, make.__name__.removeprefix("_"))


def _linear(start, end, count):
    return np.linspace(start, end, count)


def _scaled_linear(start, end, count):
    return np.linspace(start**0.5, end**0.5, count) ** 2


def _sigmoid(start, end, count):
    return start + (end - start) / (1 + np.exp(-np.linspace(-6, 6, count)))


def _cosine(count):
    left = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2  # alphas_cumprod
    return np.minimum(1 - left[1:] / left[:-1], 0.999)


def _zero_terminal_snr(betas):
    root = np.sqrt(np.cumprod(1 - betas))
    if len(root) == 1:
        raise ValueError("zero_terminal_snr needs train_steps of 2 or more, got 1.")
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    left = root**2
    return 1 - np.concatenate([left[:1], left[1:] / left[:-1]])


_SCHEDULES = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "cosine": _cosine,
    "squaredcos_cap_v2": _cosine,
    "sigmoid": _sigmoid,
}
