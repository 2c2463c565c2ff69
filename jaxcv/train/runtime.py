"""Settings of the process that a run needs: compiled programs kept, NaN checks, several hosts."""

import os

import jax


def setup(*, compilation_cache="", debug=False):
    """Sets jax's process-wide options; to be called once, before anything is compiled.

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


def join(coordinator, processes, process):
    """Joins this process to the others of a run; each calls this before any use of jax.

    Args:
        coordinator: "HOST:PORT" of the first process, or "auto" where jax finds all three by
            itself (SLURM, Open MPI, cloud TPUs).
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        ValueError: a coordinator without the numbers.
    """
    if coordinator == "auto":
        jax.distributed.initialize()
    elif ":" in coordinator and 0 <= process < processes:
        jax.distributed.initialize(coordinator, processes, process)
    else:
        raise ValueError(
            f"--coordinator={coordinator} --processes={processes} --process={process}: expected"
            " HOST:PORT, how many processes there are and which this is (0 for the first);"
            " or --coordinator=auto under SLURM."
        )
    from jax.experimental import multihost_utils

    # The first collective connects the processes, which wait for each other no longer than 30 s on
    # a CPU. Now they are together; later one may be reading a checkpoint.
    multihost_utils.sync_global_devices("joined")
