import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import train
from tests.train import toy


@pytest.mark.parametrize("number", [0, 3])
def test_debugging_stops_at_the_operation_that_makes_the_first_nan(tmp_path, number):
    def loss(variables, batch, key):
        terms, rest = toy.task().losses["toy"](variables, batch, key)
        logarithm = jnp.log(batch["x"]).sum()
        return terms | {"logarithm": (logarithm, batch["weight"].sum())}, rest

    def spoil(this, batch):
        x = np.abs(batch["x"]) + 1
        return batch | {"x": -x if this == number else x}

    task = toy.task(losses={"toy": loss})
    train.setup(debug=True)
    try:
        with pytest.raises(FloatingPointError, match="nan") as caught:
            toy.run(tmp_path, toy.config(debug=True), task=task, on_batch=spoil)
    finally:
        train.setup(debug=False)
    assert any("jnp.log(" in str(frame.statement) for frame in caught.traceback)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("localhost", 2, 0), ("localhost:1", 0, 0), ("localhost:1", 2, 2)),
        *(("localhost:a", 2, 0), ("", 2, 1)),
    ],
)
def test_a_process_without_its_numbers_is_refused(arguments):
    with pytest.raises(ValueError, match="expected HOST:PORT, how many processes"):
        train.join(*arguments)


def test_a_compilation_cache_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/cache cannot be written.*compilation_cache="):
        train.setup(compilation_cache=str(tmp_path / "file" / "cache"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not the GNU C library")
def test_memory_that_was_freed_is_there_again():
    program = """
import resource
from jaxcv import train

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 << 20)  # freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), faults())
train.setup()
print(faults(), faults())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    before, after = (list(map(int, line.split())) for line in ran.stdout.splitlines())
    assert min(before) > 10 * after[1]


_CONVOLVE = """
import jax, jax.numpy as jnp
from jaxcv import ops, train

train.setup()
convolve = jax.jit(lambda x, w: ops.conv(x, w, padding=1))
program = convolve.lower(jnp.ones((8, 16, 16, 32)), jnp.ones((3, 3, 32, 32)))
print("ynn" in program.compile().as_text())
"""


@pytest.mark.skipif(jax.__version_info__[:2] != (0, 10), reason="jax 0.10's choice of a library")
@pytest.mark.parametrize("chosen", ["", "individual_convolution"])
def test_convolutions_are_not_kept_to_one_core_unless_chosen(chosen):
    flags = f"--xla_cpu_experimental_ynn_fusion_type={chosen}" if chosen else ""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    ran = subprocess.run(
        [sys.executable, "-c", _CONVOLVE], capture_output=True, text=True, env=environment
    )
    assert ran.stdout == f"{bool(chosen)}\n", ran.stderr
