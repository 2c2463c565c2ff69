"""What tests ask of XLA."""

import jax

# Compiles in a half to a quarter of the time what then runs slower.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
if jax.__version_info__ < (0, 11):  # later there is no such choice
    QUICK["xla_cpu_use_fusion_emitters"] = False


def flags(devices, *, optimized=True):
    """XLA_FLAGS of a process that simulates so many CPU devices."""
    options = {"xla_force_host_platform_device_count": devices, **({} if optimized else QUICK)}
    return " ".join(f"--{name}={value}" for name, value in options.items())
