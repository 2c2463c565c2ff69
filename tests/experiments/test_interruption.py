"""A real run, killed, stopped and hindered from outside, and what the same command makes of it."""

import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time

import pytest

from jaxcv import train

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 120


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Function workdir -> the process of one and the same training command."""
    cache = tmp_path_factory.mktemp("cache")
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    command = [
        *(sys.executable, "-m", "experiments.train"),
        "--config=configs/classification/lenet_digits.py:smoke",
        *(f"--config.steps={STEPS}", "--config.batch_size=32", "--config.log_every=1"),
        *("--config.eval_every=50", "--config.checkpoint_every=20", "--config.pictures=0"),
        f"--config.compilation_cache={cache}",
    ]

    def start_training(workdir, **options):
        return subprocess.Popen(
            [*command, f"--workdir={workdir}"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return start_training


@pytest.fixture(scope="module")
def unbroken(start, tmp_path_factory):
    """The folder of a run that nothing came between."""
    workdir = tmp_path_factory.mktemp("unbroken")
    process = start(workdir)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return workdir


def steps_done(workdir):
    rows = train.read_rows(workdir / "metrics.jsonl")
    return rows[-1]["step"] if rows else 0


def interrupt(process, workdir, *, step, by):
    """Sends the signal `by` when the run has told of `step`: -> (status, what it printed)."""
    while steps_done(workdir) < step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(by)
    output, _ = process.communicate()
    return process.returncode, output


def content(workdir):
    """What must be the same: the parameters' digest and all rows but for the speed."""
    rows = train.read_rows(workdir / "metrics.jsonl")
    for row in rows:
        row.pop("examples_per_second", None)
    return json.loads((workdir / "result.json").read_text())["params_sha256"], rows


def test_killed_stopped_and_started_again_a_run_ends_as_if_unbroken(start, unbroken, tmp_path):
    chance = random.Random(5)
    killed, _ = interrupt(start(tmp_path), tmp_path, step=chance.randint(22, 38), by=signal.SIGKILL)
    assert killed == -signal.SIGKILL

    stop = start(tmp_path)
    status, output = interrupt(stop, tmp_path, step=chance.randint(50, 70), by=signal.SIGTERM)
    assert status == 0
    assert "Going on from the checkpoint of step " in output
    stopped = steps_done(tmp_path)
    assert f"Stopped by SIGTERM after step {stopped};" in output

    process = start(tmp_path)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"Going on from the checkpoint of step {stopped}." in output
    assert content(tmp_path) == content(unbroken)


@pytest.mark.usefixtures("unbroken")  # which leaves the compiled programs, larger than the limit
def test_a_last_checkpoint_that_cannot_be_written_ends_the_run_with_a_message(start, tmp_path):
    def fill_disk():
        # LeNet's parameters and momentum take 490 kB: no file may grow to that.
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = start(tmp_path, preexec_fn=fill_disk)
    output, errors = process.communicate()
    assert process.returncode == 1
    assert "THE CHECKPOINT OF STEP 20 WAS NOT WRITTEN" in output
    assert errors == (  # and nothing of what orbax and tensorstore tell of it by pages
        f"The checkpoint of step {STEPS} could not be written to {tmp_path}. Make room there and"
        " give the same command again: it goes on from the one before.\n"
    )
