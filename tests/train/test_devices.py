"""One device, four simulated ones, several processes of the real thing: the same numbers.

What the processes of a job do is in on_devices.py.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxcv import train
from jaxcv.data import digits
from tests import xla

_ROOT = pathlib.Path(__file__).parents[2]
_CASES = [(name, accumulate) for name in ("resnet", "lenet") for accumulate in (1, 2)]
_SEEDS = {"resnet": (0,), "lenet": (1, 2, 3)}
_RUNS = [(name, accumulate, seed) for name, accumulate in _CASES for seed in _SEEDS[name]]
_EXAMPLES = 101  # prime: no number of shards divides it
_LAYOUTS = {  # name: (devices of each process, processes)
    "one device": (1, 1),
    "four devices": (4, 1),
    "two processes": (1, 2),
    "three processes": (1, 3),
    "four processes": (1, 4),
}
# Of a run to be stopped: jax looks for the signal once a second, so all must take longer.
_STEPS, _BATCH = 120, 64
_TRAINED = ("one device", "four devices", "two processes")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Folder of the compiled programs, which later processes need not compile again."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, cache):
    """{layout: folder of its job}: the runs of _CASES; all measure the first's LeNet."""
    root = tmp_path_factory.mktemp("jobs")
    _write_images(root / "images")
    first = root / "one device"

    def job(layout):
        devices, processes = _LAYOUTS[layout]
        folder = root / layout
        folder.mkdir()
        content = {
            "processes": processes,
            "coordinator": f"127.0.0.1:{_free_port()}",
            "cache": str(cache),
            "runs": _RUNS if layout in _TRAINED else [],
            "measure": {"run": str(first / "lenet_1_1"), "images": str(root / "images")},
            "batch_sizes": [12, 120] if layout in _TRAINED else [12],
        }
        (folder / "job.json").write_text(json.dumps(content))
        return [
            _start(["tests.train.on_devices", folder, process], folder, process, devices)
            for process in range(processes)
        ]

    for layout in _LAYOUTS:
        _finish(job(layout))
    return {layout: root / layout for layout in _LAYOUTS}


@pytest.mark.parametrize(("name", "accumulate"), _CASES)
@pytest.mark.parametrize("layout", ["four devices", "two processes"])
def test_twenty_steps_give_the_losses_of_one_device(jobs, layout, name, accumulate):
    # LeNet's pools and ReLUs are gates: where rounding turns one, the runs of a seed part by 1e-3,
    # as those of one device do whose parameters start 1e-7 apart. One seed in ten does so; a
    # wrong gradient or another drawing would part all of them. So most seeds must agree.
    apart = []
    for seed in _SEEDS[name]:
        run = f"{name}_{accumulate}_{seed}"
        got, want = (np.array(_losses(jobs[where] / run)) for where in (layout, "one device"))
        assert len(got) == len(want) == 20
        assert abs(got[0] / want[0] - 1) < 1e-6
        apart.append(np.max(abs(got / want - 1)))
    assert np.median(apart) < 1e-5, apart


@pytest.mark.parametrize("name", ["resnet", "lenet"])
def test_micro_batches_draw_and_normalise_by_themselves(jobs, name):
    # So a comparison with accumulation is one of another program, not of the same twice.
    one, two = (
        _losses(jobs["one device"] / f"{name}_{accumulate}_{_SEEDS[name][0]}")
        for accumulate in (1, 2)
    )
    assert abs(one[0] / two[0] - 1) > 1e-4


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_every_example_is_measured_once_and_counted_alike(jobs, layout):
    want = _measured(jobs["one device"])["12"]
    assert want["metrics"]["count"] == np.sum(want["confusion"]) == _EXAMPLES
    assert 0.3 < want["metrics"]["top1"] < 1  # so that a wrong count would show
    for got in _measured(jobs[layout]).values():  # by batch size
        assert sorted(got["ids"]) == list(range(_EXAMPLES))
        assert got["confusion"] == want["confusion"]
        loss, want_loss = got["metrics"].pop("loss"), want["metrics"]["loss"]
        assert got["metrics"] == {k: v for k, v in want["metrics"].items() if k != "loss"}
        assert loss == pytest.approx(want_loss, rel=1e-6)


def test_two_processes_stop_together_at_sigterm_and_go_on_exactly(tmp_path, cache):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    _finish(_train_in_two(unbroken, cache))

    processes = _train_in_two(broken, cache)
    _wait_for(broken / "metrics.jsonl", processes)  # it is there just before the first step
    for process in processes:
        process.send_signal(signal.SIGTERM)
    said = _finish(processes)
    (step,) = _checkpoints(broken)
    assert f"Stopped by SIGTERM after step {step};" in said[0], said[0][-2000:]
    assert not (broken / "result.json").exists()
    assert _rows(broken)[-1]["step"] == step

    said = _finish(_train_in_two(broken, cache))
    assert f"Going on from the checkpoint of step {step}." in said[0]
    assert _checkpoints(broken) == [step, _STEPS]
    results = [json.loads((run / "result.json").read_text()) for run in (unbroken, broken)]
    assert results[0]["params_sha256"] == results[1]["params_sha256"]
    # Each process computes every row; one of them writes it.
    assert [row["step"] for row in _rows(unbroken)] == [*range(1, _STEPS + 1), _STEPS]
    assert _losses(broken) == _losses(unbroken)


def _train_in_two(workdir, cache):
    """Two processes of the real script, one device each, that take _STEPS steps."""
    flags = [
        "--config=configs/classification/lenet_digits.py",
        f"--workdir={workdir}",
        f"--coordinator=127.0.0.1:{_free_port()}",
        "--processes=2",
        f"--config.compilation_cache={cache}",
        *(f"--config.steps={_STEPS}", f"--config.batch_size={_BATCH}", "--config.log_every=1"),
        *("--config.eval_every=0", "--config.pictures=0"),
    ]
    return [
        _start(["experiments.train", *flags, f"--process={process}"], workdir.parent, process)
        for process in range(2)
    ]


def _start(module, folder, process, devices=1):
    """A process of `python -m module ...` that sees so many devices and tells all to a file."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": xla.flags(devices),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",  # compiling takes half as long
        "JAXCV_CACHE": str(folder / f"decoded{process}"),
    }
    with open(folder / f"said{process}", "w") as said:
        started = subprocess.Popen(
            [sys.executable, "-m", *map(str, module)],
            cwd=_ROOT,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    started.said = pathlib.Path(said.name)
    return started


def _finish(processes):
    """What the processes said, once all have ended well."""
    try:
        for process in processes:
            assert process.wait(timeout=1200) == 0, process.said.read_text()[-3000:]
    finally:
        for process in processes:
            process.kill()  # those that wait for one that failed
            process.wait()
    return [process.said.read_text() for process in processes]


def _wait_for(path, processes):
    """Waits until the file is there, as long as all processes are at work."""
    while not path.exists():
        assert all(process.poll() is None for process in processes), _finish(processes)
        time.sleep(0.01)


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _write_images(folder):
    """The first digits of the test split as folder/test/CLASS/NUMBER.png."""
    images, labels = digits.arrays("test")
    for i in range(_EXAMPLES):
        path = folder / "test" / str(labels[i]) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(path)


def _rows(workdir):
    return train.read_rows(workdir / "metrics.jsonl")


def _losses(workdir):
    return [row["loss"] for row in _rows(workdir) if row["split"] == "train"]


def _measured(folder):
    return json.loads((folder / "measured.json").read_text())


def _checkpoints(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*"))
