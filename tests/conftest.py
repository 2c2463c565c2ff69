"""Set before jax is imported: the suite runs on the CPU, as four simulated devices."""

import os

os.environ["JAX_PLATFORMS"] = os.environ.get("JAXCV_TEST_PLATFORM", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()
