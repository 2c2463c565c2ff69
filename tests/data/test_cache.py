import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from jaxcv.data import cache
from jaxcv.data.source import Source, reader

LIMIT = 2**20


@pytest.fixture
def counted(tmp_path):
    """A source over a file, which counts the examples that it reads."""
    (tmp_path / "data.bin").write_bytes(b"original")
    arrays = {
        "image": np.arange(300 * 4, dtype=np.uint8).reshape(300, 2, 2, 1),
        "label": np.arange(300, dtype=np.int32),
    }
    read, reads = reader(arrays), []

    def count(indices):
        reads.append(len(indices))
        return read(indices)

    source = Source(
        name="counted",
        split="train[:50%]",
        size=300,
        read=count,
        class_names=("a", "b"),
        in_memory=False,
        example_name="number {}".format,
        files=lambda: [tmp_path / "data.bin"],
    )
    return source, arrays, reads


def decodes(source, folder, reads):
    """Whether caching reads every example anew; checks what comes out."""
    del reads[:]
    got = cache.cached(source, folder=folder, limit=LIMIT)
    assert got.in_memory
    assert got.example_name(3) == "number 3"
    indices = np.array([299, 0, 7])
    batch = got.read(indices)
    np.testing.assert_array_equal(batch["label"], indices)
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], [299 * 4 % 256, 0, 28])
    return sum(reads) >= source.size


def test_a_set_is_decoded_once(counted, tmp_path):
    source, _, reads = counted
    assert decodes(source, tmp_path / "cache", reads)
    assert not decodes(source, tmp_path / "cache", reads)
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert [name.split(".", 1)[1] for name in names] == ["image.npy", "json", "label.npy"]
    assert all(name.startswith("counted-train-50-") for name in names)


def test_a_large_set_is_left_alone(counted, tmp_path):
    source, _, _ = counted
    assert cache.cached(source, folder=tmp_path / "cache", limit=300 * 8 - 1) is source
    assert not (tmp_path / "cache").exists()
    assert cache.cached(source, folder=tmp_path / "cache", limit=300 * 8).in_memory


def test_changed_files_are_decoded_again(counted, tmp_path):
    source, _, reads = counted
    decodes(source, tmp_path / "cache", reads)
    (tmp_path / "data.bin").write_bytes(b"changed!")  # the same size
    os.utime(tmp_path / "data.bin", ns=(1, 1))
    assert decodes(source, tmp_path / "cache", reads)


@pytest.mark.parametrize("change", [{"split": "test"}, {"name": "other"}, {"class_names": ("b",)}])
def test_another_split_or_set_has_a_copy_of_its_own(counted, tmp_path, change):
    source, _, reads = counted
    decodes(source, tmp_path / "cache", reads)
    assert decodes(dataclasses.replace(source, **change), tmp_path / "cache", reads)


def damage_cut(path):
    os.truncate(path, path.stat().st_size // 2)


def damage_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def damage_empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_cut, damage_bit, damage_empty, os.unlink])
@pytest.mark.parametrize("ending", ["image.npy", "label.npy", "json"])
def test_a_damaged_copy_is_made_again(counted, tmp_path, damage, ending):
    source, _, reads = counted
    decodes(source, tmp_path / "cache", reads)
    (path,) = (tmp_path / "cache").glob(f"*.{ending}")
    damage(path)
    assert decodes(source, tmp_path / "cache", reads)
    assert not decodes(source, tmp_path / "cache", reads)


def test_an_unwritable_folder_costs_a_warning(counted, tmp_path, caplog):
    source, _, reads = counted
    (tmp_path / "file").touch()
    assert decodes(source, tmp_path / "file" / "cache", reads)
    assert "data.cache_dir" in caplog.text
    assert "decoded at every start" in caplog.text


def test_an_unreadable_example_ends_it_and_leaves_nothing(counted, tmp_path):
    source, _, _ = counted

    def read(indices):
        if 280 in indices:
            raise ValueError("number 280: cannot be read")
        return source.read(indices)

    with pytest.raises(ValueError, match="number 280"):
        cache.cached(dataclasses.replace(source, read=read), folder=tmp_path / "c", limit=LIMIT)
    assert not (tmp_path / "c").exists()


def test_the_folder_is_taken_from_the_environment(counted, tmp_path, monkeypatch):
    source, _, _ = counted
    monkeypatch.setenv("JAXCV_CACHE", str(tmp_path / "from_environment"))
    cache.cached(source, limit=LIMIT)
    assert len(list((tmp_path / "from_environment").iterdir())) == 3


WRITER = """
import pathlib
import sys
import numpy as np
from jaxcv.data import cache
from jaxcv.data.source import Source, reader
image = np.full((2000, 16, 16, 1), 3, np.uint8)
source = Source("both", "train", 2000, reader({"image": image}), ("a",), False, str)
for _ in range(20):
    got = cache.cached(source, folder=sys.argv[1], limit=2**30)
    assert (got.read(np.array([1999]))["image"] == 3).all()
    for path in pathlib.Path(sys.argv[1]).glob("*.json"):
        path.unlink(missing_ok=True)  # so that both write again
"""


def test_two_processes_may_write_at_once(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert not list(tmp_path.glob("*.tmp"))
