"""What a model may predict, and each kind in terms of the others.

With x = signal x0 + sigma noise and signal^2 + sigma^2 = 1 a model predicts "epsilon" (the noise),
"sample" (x0) or "v_prediction" (v = signal noise - sigma x0). Names are diffusers'.
"""

from jaxcv.samplers.choose import check_known

KINDS = ("epsilon", "sample", "v_prediction")


def linear(given, wanted, signal, sigma):
    """(c, d) such that c x + d prediction is the kind `wanted` where the prediction is `given`.

    Args:
        given, wanted: of KINDS.
        signal, sigma: numbers, NumPy or jax arrays.

    Raises:
        ValueError: an unknown kind.
    """
    check_known(KINDS, given, argument="prediction")
    check_known(KINDS, wanted, argument="wanted")
    if given == wanted:
        return 0 * signal, 1 + 0 * signal
    return _LINEAR[given, wanted](signal, sigma)


_LINEAR = {
    ("epsilon", "sample"): lambda signal, sigma: (1 / signal, -sigma / signal),
    ("epsilon", "v_prediction"): lambda signal, sigma: (-sigma / signal, 1 / signal),
    ("sample", "epsilon"): lambda signal, sigma: (1 / sigma, -signal / sigma),
    ("sample", "v_prediction"): lambda signal, sigma: (signal / sigma, -1 / sigma),
    ("v_prediction", "sample"): lambda signal, sigma: (signal, -sigma),
    ("v_prediction", "epsilon"): lambda signal, sigma: (sigma, signal),
}
