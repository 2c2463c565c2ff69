"""The axis "device" that a training step maps over. Where it is unbound, there is one device."""

import jax

_AXIS = "device"


def device_index():
    """The place of this device among those the batch is spread over: an int."""
    try:
        return jax.lax.axis_index(_AXIS)
    except NameError:
        return 0


def device_count():
    """Over how many devices the batch is spread: a Python int."""
    try:
        return jax.lax.axis_size(_AXIS)
    except NameError:
        return 1


def device_mean(array):
    """The mean over devices of each one's array: the same shape, equal on all."""
    try:
        return jax.lax.pmean(array, _AXIS)
    except NameError:
        return array
