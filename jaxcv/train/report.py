"""What a run says of itself: the table at the start, result.json at the end."""

import importlib.metadata
import math
import pathlib
import platform
import resource
import subprocess
import sys

import jax

from jaxcv.train import state as states

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def table(variables):
    """A table of the parameters' names, shapes and sizes and each collection's sum, as text."""
    rows = [
        (name, str(list(leaf.shape)), f"{math.prod(leaf.shape):,}", str(leaf.dtype))
        for name, leaf in states.named(variables["params"]).items()
    ]
    totals = {
        collection: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
        for collection, tree in variables.items()
    }
    rows.append(("params in all", "", f"{totals.pop('params'):,}", ""))
    rows += [(f"{name} in all", "", f"{total:,}", "") for name, total in totals.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows
    )


def forward_flops(task, variables, example):
    """Floating-point operations of one example's forward pass as XLA counts them; None if unknown.

    Lowers `task.predict` without compiling it; counts both of a multiply-add.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (variables, example))
    cost = jax.jit(task.predict).lower(*shapes).cost_analysis()
    return (cost or {}).get("flops")


def versions():
    """{package: version} of what decides a run's numbers."""
    known = {"python": platform.python_version()}
    return known | {name: importlib.metadata.version(name) for name in PACKAGES}


def device():
    """The devices in words: "4 x cpu (x86_64, 2 cores)" or "8 x NVIDIA H200 (2 processes)"."""
    devices = jax.devices()
    words = f"{len(devices)} x {devices[0].device_kind}"
    if devices[0].platform == "cpu":
        words += f" ({platform.machine()}, {_cores()} cores)"
    return words + (f" ({jax.process_count()} processes)" if jax.process_count() > 1 else "")


def peak_memory():
    """{"host_bytes", "device_bytes" (where the device tells)}: the most that was in use."""
    unit = 1 if sys.platform == "darwin" else 1024
    memory = {"host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        memory["device_bytes"] = stats["peak_bytes_in_use"]
    return memory


def commit():
    """The commit of jaxcv's checkout, "+" behind it if files differ; None if unknown."""

    def git(*arguments):
        answer = subprocess.run(
            ["git", "-C", str(pathlib.Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip() if answer.returncode == 0 else None

    try:
        name = git("rev-parse", "HEAD")
        return name and name + ("+" if git("status", "--porcelain") else "")
    except FileNotFoundError:
        return None


def _cores():
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
