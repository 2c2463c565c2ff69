"""What tests ask of XLA."""

import contextlib

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"  # what jax says of every program

# Compiles in a half to a quarter of the time what then runs slower.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
if jax.__version_info__ < (0, 11):  # later there is no such choice
    QUICK["xla_cpu_use_fusion_emitters"] = False


def flags(devices, *, optimized=True):
    """XLA_FLAGS of a process that simulates so many CPU devices."""
    options = {"xla_force_host_platform_device_count": devices, **({} if optimized else QUICK)}
    return " ".join(f"--{name}={value}" for name, value in options.items())


@contextlib.contextmanager
def compilations():
    """Gives a list that grows with every program that jax compiles, or finds in its cache."""
    programs = []

    def listen(event, duration, **_):
        if event == COMPILED:
            programs.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield programs
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def compiled_by(call):
    """How many programs are compiled while `call()` runs."""
    with compilations() as programs:
        jax.block_until_ready(call())
    return len(programs)
