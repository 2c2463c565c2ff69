"""The axis "device" that a training step maps over. Where it is unbound, there is one device."""

import jax

_AXIS = "device"


def device_axis():
    """The axis's name; None where it is unbound."""
    try:
        jax.lax.axis_size(_AXIS)
    except NameError:
        return None
    return _AXIS


def device_index():
    """The place of this device among those the batch is spread over: an int."""
    return 0 if device_axis() is None else jax.lax.axis_index(_AXIS)


def device_count():
    """Over how many devices the batch is spread: a Python int."""
    return 1 if device_axis() is None else jax.lax.axis_size(_AXIS)
