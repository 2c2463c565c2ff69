import functools
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jaxcv.data import pipeline
from jaxcv.data.source import Source, reader


def counting(size, in_memory=True):
    """A source whose images are their own index."""
    arrays = {
        "image": np.arange(size, dtype=np.uint8).reshape(size, 1, 1, 1),
        "label": np.arange(size, dtype=np.int32),
    }
    name = "example {}".format
    return Source("counting", "train", size, reader(arrays), ("a",), in_memory, name)


def shares(step, hosts, *, size=23, batch_size=24, accumulate=1, seed=0):
    options = {"size": size, "batch_size": batch_size, "accumulate": accumulate, "seed": seed}
    return [
        pipeline.training_rows(step, hosts=hosts, host=host, **options)[0] for host in range(hosts)
    ]


def test_an_epoch_holds_every_example_once_and_epochs_differ():
    stream = np.concatenate([shares(step, 1, size=10, batch_size=4)[0] for step in range(5)])
    first, second = stream[:10], stream[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()


def test_a_batch_may_be_larger_than_the_source():
    (batch,) = shares(0, 1, size=5, batch_size=24)
    assert sorted(np.bincount(batch)) == [4, 5, 5, 5, 5]
    # The next step goes on where this one stopped, with the fifth example of its fifth epoch.
    (following,) = shares(1, 1, size=5, batch_size=24)
    assert sorted([*batch[-4:], following[0]]) == list(range(5))


@pytest.mark.parametrize("hosts", [1, 2, 3, 4])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_hosts_share_each_micro_batch_of_the_one_global_batch(hosts, accumulate):
    (whole,) = shares(3, 1, accumulate=accumulate)
    parts = [part.reshape(accumulate, -1) for part in shares(3, hosts, accumulate=accumulate)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1).reshape(-1), whole)


def test_a_seed_changes_the_batches():
    assert shares(0, 1, seed=0)[0].tolist() != shares(0, 1, seed=1)[0].tolist()


@pytest.mark.parametrize("hosts", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 7, 24, 25])
def test_evaluation_sees_every_example_once_over_any_number_of_hosts(hosts, size):
    seen = []
    for batch in range(-(-size // 12)):
        for host in range(hosts):
            rows, weight = pipeline.evaluation_rows(
                batch, size=size, batch_size=12, hosts=hosts, host=host
            )
            assert len(rows) == 12 // hosts
            seen += rows[weight == 1].tolist()
            assert (rows[weight == 0] == size - 1).all()
    assert seen == list(range(size))


def rows(step):
    return pipeline.training_rows(
        step, size=50, seed=0, batch_size=8, accumulate=1, hosts=1, host=0
    )


def test_a_start_in_the_middle_gives_the_same_batches():
    whole = list(pipeline.iterate(counting(50), rows, range(12), workers=0, prefetch=2))
    rest = list(pipeline.iterate(counting(50), rows, range(5, 12), workers=0, prefetch=2))
    assert (len(whole), len(rest)) == (12, 7)
    for one, other in zip(whole[5:], rest):
        assert one.keys() == other.keys() == {"image", "label", "id", "weight"}
        for key, array in one.items():
            np.testing.assert_array_equal(array, other[key])
    assert whole[0]["id"].dtype == np.int32
    assert whole[0]["weight"].dtype == np.float32
    np.testing.assert_array_equal(whole[0]["label"], whole[0]["id"])


def test_no_step_left_is_no_batch():
    for in_memory in (True, False):
        source = counting(50, in_memory)
        assert list(pipeline.iterate(source, rows, range(5, 5), workers=2, prefetch=2)) == []


def slow_read(read, slow, indices):
    if slow in indices:
        time.sleep(0.2)
    return read(indices)


def test_threads_keep_the_order_of_batches():
    source = counting(50, in_memory=False)
    late = Source(
        **{**vars(source), "read": functools.partial(slow_read, source.read, rows(0)[0][0])}
    )
    got = [b["id"] for b in pipeline.iterate(late, rows, range(4), workers=0, prefetch=4)]
    np.testing.assert_array_equal(got, [rows(step)[0] for step in range(4)])


def failing_read(indices):
    raise ValueError(f"example {indices[0]}: cannot be read")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_example_surfaces_with_its_name(workers):
    source = Source(**{**vars(counting(50, in_memory=False)), "read": failing_read})
    iterator = pipeline.iterate(source, rows, range(3), workers=workers, prefetch=2)
    with pytest.raises(ValueError, match=f"example {rows(0)[0][0]}: cannot be read"):
        next(iterator)


def test_worker_processes_read_the_same_batches_and_end_with_their_consumer():
    before = set(multiprocessing.active_children())
    source = counting(50, in_memory=False)
    iterator = pipeline.iterate(source, rows, range(100), workers=2, prefetch=2)
    for step in range(4):
        np.testing.assert_array_equal(next(iterator)["label"], rows(step)[0])
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    del iterator
    assert _soon(lambda: not workers & set(multiprocessing.active_children()))


def test_threads_end_with_their_consumer():
    before = threading.active_count()
    iterator = pipeline.iterate(counting(50), rows, range(100), workers=0, prefetch=2)
    next(iterator)
    assert threading.active_count() > before
    del iterator
    assert _soon(lambda: threading.active_count() <= before)


PROGRAM = """
import functools, sys
import numpy as np
from jaxcv.data import pipeline
from jaxcv.data.source import Source, reader
arrays = {"label": np.arange(50, dtype=np.int32)}
rows = functools.partial(pipeline.evaluation_rows, size=50, batch_size=5, hosts=1, host=0)
for in_memory, workers in ((True, 0), (False, 0), (False, 1)):
    source = Source("left", "train", 50, reader(arrays), ("a",), in_memory, str)
    iterator = pipeline.iterate(source, rows, range(10), workers=workers, prefetch=2)
    next(iterator)
    globals()[f"kept{in_memory}{workers}"] = iterator
"""


def test_a_program_that_leaves_iterators_open_ends_without_a_word(tmp_path):
    (tmp_path / "program.py").write_text(f"if __name__ == '__main__':\n    exec({PROGRAM!r})")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def _soon(condition):
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False
