"""Set before jax is imported: the suite runs on the CPU, as four simulated devices."""

import os

os.environ["JAX_PLATFORMS"] = os.environ.get("JAXCV_TEST_PLATFORM", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()

_LONGEST = ("train/test_devices.py", "configs/test_configs.py", "models/test_backbones.py")


def pytest_collection_modifyitems(items):
    """Puts the longest files first: one that is begun last keeps a worker while others are idle."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(_LONGEST))
