"""The scripts as commands: --help, and status and message of a process of its own."""

import re
import subprocess
import sys

import pytest

from tests.experiments.scripts import ROOT

SCRIPTS = ("train", "evaluate", "predict", "reproduce")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_tells_of_every_flag(run, script):
    source = (ROOT / "experiments" / f"{script}.py").read_text()
    described = re.findall(r'DEFINE_\w+\(\s*"(\w+)", [^,]+, "([^"]+)"', source)
    assert len(described) == source.count("flags.DEFINE_") > 0
    ran = run(script, "--help")
    assert (ran.status, ran.stderr, ran.compiled) == (0, "", 0)
    assert f"python -m experiments.{script} --" in ran.stdout  # an example
    shown = " ".join(ran.stdout.split())  # it breaks long lines
    for name, description in described:
        assert re.search(rf"--(\[no\])?{name}: {re.escape(description)}", shown)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("train", "--config and --workdir must be given. See --help.\n"),
        ("evaluate", "Give either --workdir, or --model and --weights. See --help.\n"),
    ],
)
def test_a_process_ends_with_status_2_and_the_message_alone(script, message):
    ran = subprocess.run(
        [sys.executable, "-m", f"experiments.{script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", message)


def test_a_process_that_reads_a_folder_without_a_run_says_nothing_else(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "experiments.evaluate", f"--workdir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(r".*config\.json is not there: .*\n", ran.stderr)
