"""Settings of the process that a run needs: compiled programs and freed memory kept, NaN checks,
several hosts.
"""

import ctypes
import os
import sys

import jax


def setup(*, compilation_cache="", debug=False):
    """Sets the process's options; to be called once, before anything is compiled.

    Memory that arrays free stays with the process from here on, for those to come: a step on the
    CPU otherwise asks for its temporaries anew, and waits while the system fills them with zeros.
    With jax 0.10, convolutions on the CPU use all cores, which its own choice of a library keeps to
    one for many shapes; where XLA_FLAGS name that choice, they stand.

    Args:
        compilation_cache: folder in which compiled programs survive the process; "" for none.
        debug: raise FloatingPointError at the operation that makes the first NaN.

    Raises:
        ValueError: the folder cannot be written.
    """
    if compilation_cache:
        folder = os.path.expanduser(compilation_cache)
        try:
            os.makedirs(folder, exist_ok=True)
            writable = os.access(folder, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            raise ValueError(
                f"compilation_cache: the folder {folder} cannot be written. Give another one, or"
                ' none: --config.compilation_cache=""'
            )
        jax.config.update("jax_compilation_cache_dir", folder)
        # Every program: LeNet's first step comes after 2 seconds instead of 13.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_debug_nans", debug)
    _keep_freed_memory()
    _convolve_on_all_cores()


def _convolve_on_all_cores():
    """Leaves YNNPACK products and sums alone: many convolutions it computes on one core."""
    flag, flags = "--xla_cpu_experimental_ynn_fusion_type", os.environ.get("XLA_FLAGS", "")
    if jax.__version_info__[:2] == (0, 10) and flag not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {flag}=individual_dot,reduce".strip()


def _keep_freed_memory():
    """No block is mapped by itself, none given back, and all threads share one heap.

    (mallopt(3) of the GNU C library; with another one nothing changes.)
    """
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # names of malloc.h
    mallopt = sys.platform == "linux" and getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(trim_threshold, -1)
        mallopt(mmap_max, 0)
        mallopt(arena_max, 1)


def join(coordinator, processes, process):
    """Joins this process to the others of a run; each calls this before any use of jax.

    Args:
        coordinator: "HOST:PORT" of the first process, or "auto" where jax finds all three by
            itself (SLURM, Open MPI, cloud TPUs).
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        ValueError: a coordinator without the numbers or the other way round, or none that jax finds
            or reaches.
    """
    given = f"--coordinator={coordinator} --processes={processes} --process={process}"
    _, colon, port = coordinator.rpartition(":")
    numbered = colon and port.isdecimal() and 0 <= process < processes
    if not numbered and coordinator != "auto":
        raise ValueError(
            f"{given}: expected HOST:PORT, how many processes there are and which this is (0 for"
            " the first); or --coordinator=auto under SLURM."
        )
    try:
        jax.distributed.initialize(*((coordinator, processes, process) if numbered else ()))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{given}: jax could not join the processes ({error}). auto works under SLURM, Open MPI"
            " and on cloud TPUs; elsewhere name HOST:PORT of the first process, which runs."
        ) from error
    from jax.experimental import multihost_utils

    # The first collective connects the processes, which wait for each other no longer than 30 s on
    # a CPU. Now they are together; later one may be reading a checkpoint.
    multihost_utils.sync_global_devices("joined")
