import contextlib
import multiprocessing
import os
import random
import resource
import shutil
import time

import numpy as np
import pytest

from jaxcv.train import checkpoints
from jaxcv.train.checkpoints import Checkpoints

# TensorStore's reads of a damaged file outlive the loop that asked for them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def arrays_of(step, size=6):
    return {
        "variables/params/kernel": np.random.default_rng(step).normal(size=(2, size)),
        "step": np.array(step, np.int32),
        "empty": np.zeros((0, 3), np.float32),
    }


def save(folder, steps, *, values=None, keep=2, mode=None):
    """Saves these steps one after the other, all of which must arrive."""
    store = Checkpoints(folder, keep=keep, mode=mode)
    for step in steps:
        store.save(step, arrays_of(step), {"step": step}, value=(values or {}).get(step))
        assert store.wait()
    store.close()


def assert_whole(found, step):
    got, arrays, notes = found
    want = {name: array for name, array in arrays_of(step).items() if array.size}
    assert (got, notes["step"], arrays.keys()) == (step, step, want.keys())
    for name, array in want.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_a_checkpoint_comes_back_with_its_dtypes_and_notes(tmp_path):
    store = Checkpoints(tmp_path / "checkpoints", keep=1)
    notes = {"best": [3, 0.5], "none": None, "metrics": {"test/top1": 0.1}, "step": 3}
    store.save(3, arrays_of(3), notes)
    store.close()
    assert_whole(checkpoints.read(tmp_path / "checkpoints"), 3)
    assert notes.items() <= checkpoints.read(tmp_path / "checkpoints")[2].items()


def test_notes_are_those_of_the_call_though_the_run_goes_on(tmp_path):
    store = Checkpoints(tmp_path, keep=20)
    sums = {"loss": [0.0, 2.0]}
    for step in range(20):
        store.save(step, arrays_of(step), {"sums": sums})
        sums["loss"][0] += 1
    store.close()
    for step in range(20):
        assert checkpoints.read(tmp_path, step)[2]["sums"] == {"loss": [step, 2]}


def test_a_relative_folder_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("runs/checkpoints", [1])
    assert checkpoints.steps(tmp_path / "runs" / "checkpoints") == [1]


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 3)])
def test_the_newest_and_the_best_are_kept(tmp_path, mode, best):
    values = {1: 0.5, 2: 0.9, 3: 0.1, 6: 0.4}  # steps 4, 5 and 7 were not measured
    save(tmp_path, range(1, 5), values=values, mode=mode)
    save(tmp_path, range(5, 8), values=values, mode=mode)  # by another process, as after a kill
    assert checkpoints.steps(tmp_path) == [best, 6, 7]
    assert_whole(checkpoints.read(tmp_path, best), best)


def test_without_a_mode_the_newest_are_kept(tmp_path):
    save(tmp_path, [1, 2, 3, 10], values={1: 0.9}, keep=3)
    assert checkpoints.steps(tmp_path) == [2, 3, 10]


def test_a_step_that_is_there_is_left_alone(tmp_path):
    save(tmp_path, [1])
    store = Checkpoints(tmp_path, keep=2)
    store.save(1, arrays_of(7), {"step": 7})
    assert store.wait()
    store.close()
    assert_whole(checkpoints.read(tmp_path), 1)


def test_read_says_which_steps_there_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No checkpoint in .*there is: none"):
        checkpoints.read(tmp_path)
    save(tmp_path, [1, 2])
    with pytest.raises(FileNotFoundError, match=r"No checkpoint of step 3 .*there is: 1, 2"):
        checkpoints.read(tmp_path, 3)


# Which file of a checkpoint is hurt; orbax's others hold nothing that is read.
FILES = ("metrics/metrics", "arrays/_METADATA", "arrays/manifest.ocdbt", "arrays/d/*")


def damage(folder, file, how):
    path = next(folder.glob(file))
    content = path.read_bytes()
    middle = len(content) // 2
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[:middle])
    elif how == "emptied":
        path.write_bytes(b"")
    else:
        flipped = bytes([content[middle] ^ 4])
        path.write_bytes(content[:middle] + flipped + content[middle + 1 :])


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A folder with checkpoints of the steps 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("three") / "checkpoints"
    save(folder, [1, 2, 3], keep=3, mode="max")
    return folder


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "deleted"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_newest_is_said_and_the_one_before_is_found(three, tmp_path, file, how):
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    damage(folder / "3", file, how)
    said = []
    store = Checkpoints(folder, keep=3, mode="max", say=said.append)
    assert_whole(store.newest(), 2)
    assert len(said) == 1
    assert said[0].startswith(f"The checkpoint of step 3 in {folder} is damaged: ")
    assert said[0].endswith(f" It was moved to {tmp_path / 'damaged' / '3'}.")
    assert (tmp_path / "damaged" / "3").is_dir()
    store.save(3, arrays_of(3), {"step": 3})  # the run comes by step 3 again
    assert store.wait()
    store.close()
    assert_whole(checkpoints.read(folder), 3)


def test_a_flipped_bit_in_a_note_is_seen(three, tmp_path):
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    path = folder / "3" / "metrics" / "metrics"
    path.write_text(path.read_text().replace('"step": 3', '"step": 7'))
    with pytest.raises(ValueError, match=r"step 3 in .* is damaged: its digest does not match"):
        checkpoints.read(folder, 3)


def test_without_any_whole_checkpoint_the_run_is_told_so(three, tmp_path):
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    for step in (1, 2, 3):
        damage(folder / str(step), "arrays/d/*", "truncated")
    said = []
    assert Checkpoints(folder, keep=3, say=said.append).newest() is None
    assert len(said) == 4
    assert said[-1] == "No checkpoint is whole: starting anew."


def test_a_fresh_folder_has_none_and_says_nothing(tmp_path):
    said = []
    assert Checkpoints(tmp_path / "none", keep=1, say=said.append).newest() is None
    assert said == []


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond 20 kB: the kernel refuses the write, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_commit_that_fails_is_said_and_does_not_count(tmp_path):
    said = []
    store = Checkpoints(tmp_path, keep=1, mode="max", say=said.append)
    store.save(1, arrays_of(1), {"step": 1}, value=0.5)
    assert store.wait()
    with full_disk():
        # It would be the newest and the best.
        store.save(2, arrays_of(2, size=100_000), {"step": 2}, value=0.9)
        assert not store.wait()
    assert [message.partition(":")[0] for message in said] == [
        "THE CHECKPOINT OF STEP 2 WAS NOT WRITTEN"
    ]
    assert checkpoints.steps(tmp_path) == [1]
    store.save(3, arrays_of(3), {"step": 3}, value=0.1)
    assert store.wait()
    store.close()
    assert sorted(os.listdir(tmp_path)) == ["1", "3"]  # the best and the newest; no remains
    assert_whole(store.newest(), 3)


def test_a_save_that_cannot_begin_is_said_and_does_not_count(tmp_path):
    said = []
    folder = tmp_path / "checkpoints"
    folder.write_text("a file where the folder must be")
    store = Checkpoints(folder, keep=1, say=said.append)
    store.save(1, arrays_of(1), {})
    assert not store.wait()
    assert [message.partition(":")[0] for message in said] == [
        "THE CHECKPOINT OF STEP 1 WAS NOT WRITTEN"
    ]
    folder.unlink()
    store.save(2, arrays_of(2), {"step": 2})
    assert store.wait()
    store.close()
    assert_whole(store.newest(), 2)


def _save_for_ever(folder, arrived):
    """Goes on saving where the folder ends; tells each step that was seen to arrive."""
    store = Checkpoints(folder, keep=2, mode="max")
    found = store.newest()
    step = found[0] if found else 0
    while True:
        step += 1
        store.save(step, arrays_of(step), {"step": step}, value=-(step % 5))
        store.wait()
        arrived.value = step


def test_a_kill_at_any_time_leaves_whole_checkpoints(tmp_path):
    # Children of one server that has imported it all: each is there in a moment.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["orbax.checkpoint", "jaxcv.train.checkpoints"])
    folder = tmp_path / "checkpoints"
    arrived = context.Value("i", 0)
    delays = random.Random(0)
    for _ in range(15):
        seen = arrived.value
        child = context.Process(target=_save_for_ever, args=(folder, arrived), daemon=True)
        child.start()
        while arrived.value == seen:  # at work: the next kill may hit any part of a save
            time.sleep(0.01)
            assert child.is_alive()
        time.sleep(delays.uniform(0, 0.15))
        child.kill()
        child.join()
        said = []
        found = Checkpoints(folder, keep=2, say=said.append).newest()
        assert said == []
        assert found[0] >= arrived.value
        assert_whole(found, found[0])
    save(folder, [found[0] + 1], mode="max")
    assert all(name.isdecimal() for name in os.listdir(folder)), os.listdir(folder)
    assert len(os.listdir(folder)) <= 3
