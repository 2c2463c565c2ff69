"""The linear forms that samplers are written in.

Every sampler here is one recurrence. In call n of the model, with x the state and z the noise,

    output         = model(scale[n] x, timesteps[n])
    x0             = clip(clean[n] . v)
    past[slot[n]]  = record[n] . v
    next x         = step[n] . v         where v = (x, output, z, x0, past[0], past[1], ...)

so a sampler is the coefficients clean, step and record, computed once in float64 on the host from
the noise schedule, and running it is one scan over their rows. A linear form is a NumPy array
[..., WIDTH] over the parts of v. X, OUTPUT, NOISE, CLEAN and PAST[k] are the parts themselves, and
forms add up and scale as the formulas of the papers do.

What is remembered is written first, for the step to read it there, and written from what is not
remembered: so XLA works in place. In the other order a step copies all slots, and takes thrice the
time.
"""

import numpy as np

from jaxcv.samplers import predictions

SLOTS = 6  # what the hungriest sampler remembers: PNDM with its Runge-Kutta start
WIDTH = 4 + SLOTS
X, OUTPUT, NOISE, CLEAN, *PAST = np.eye(WIDTH)


def times(numbers, form):
    """A form for each of N calls, scaled: [N] and [WIDTH] or [N, WIDTH] -> [N, WIDTH]."""
    return np.asarray(numbers)[:, None] * form


def clean_form(prediction, signal, sigma):
    """The forms of x0 as the model predicts it, [N, WIDTH], from x of levels signal, sigma: [N].

    Raises:
        ValueError: an unknown prediction, or epsilon where there is no signal.
    """
    of_x, of_output = _linear(prediction, "sample", signal, sigma)
    return times(of_x, X) + times(of_output, OUTPUT)


def epsilon_form(prediction, signal, sigma):
    """The forms of epsilon as the model predicts it, otherwise as `clean_form`.

    Raises:
        ValueError: an unknown prediction, or a sample where there is no noise.
    """
    of_x, of_output = _linear(prediction, "epsilon", signal, sigma)
    return times(of_x, X) + times(of_output, OUTPUT)


def _linear(prediction, wanted, signal, sigma):
    if prediction == "epsilon" and np.any(signal == 0):
        raise ValueError(
            'prediction "epsilon" says nothing of x0 where alphas_cumprod is 0, as with'
            ' zero_terminal_snr. Use "v_prediction" or "sample", or another schedule.'
        )
    if (prediction, wanted) == ("sample", "epsilon") and np.any(sigma == 0):
        raise ValueError(
            'prediction "sample" says nothing of epsilon where there is no noise yet. Use'
            ' "v_prediction" or "epsilon", or set_alpha_to_one=False.'
        )
    return predictions.linear(prediction, wanted, signal, sigma)
