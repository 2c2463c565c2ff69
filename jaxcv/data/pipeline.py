"""Batches by number: which examples batch i holds, and an iterator that reads them ahead.

A batch is a pure function of the seed and its number, so going on at a step needs no state. The
functions of rows know about hosts by their arguments alone.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import threading
import weakref
from collections.abc import Callable

import cloudpickle
import numpy as np

from jaxcv.data.source import Source


def training_rows(step, *, size, seed, batch_size, accumulate, hosts, host):
    """A host's share of the training batch of a step.

    The stream of examples is one new permutation of the source after another, each a pure function
    of (seed, epoch); the global batch of a step is its next `batch_size` entries, across the end of
    an epoch where need be. In the global batch the micro-batch is the slowest axis, then host and
    device: [accumulate, hosts, rows], of which a host reads [:, host].

    Args:
        step: number of the batch, from 0.
        size: number of examples in the source; may be smaller than the batch.
        seed: of the permutations, at least 0.
        batch_size: global, divisible by accumulate * hosts.
        accumulate: number of micro-batches.
        hosts: number of hosts, all with the same number of devices.
        host: which of them, from 0.

    Returns:
        (indices int64 [batch_size / hosts], weight float32 [batch_size / hosts], all 1).

    Cost: O(size) at the first batch of each epoch, else O(batch_size).
    """
    start, stop = step * batch_size, (step + 1) * batch_size
    stream = [
        _permutation(size, seed, epoch)[max(start - epoch * size, 0) : stop - epoch * size]
        for epoch in range(start // size, (stop - 1) // size + 1)
    ]
    rows = np.concatenate(stream).reshape(accumulate, hosts, -1)[:, host].reshape(-1)
    return rows, np.ones(len(rows), np.float32)


def evaluation_rows(batch, *, size, batch_size, hosts, host):
    """A host's share of an evaluation batch: the source in its own order, cut over the hosts.

    Over all hosts and the ceil(size / batch_size) batches every example comes once with weight 1.
    The rest of the last batch is the last example again, with weight 0.

    Returns:
        (indices int64 [batch_size / hosts], weight float32 [batch_size / hosts]).
    """
    share = batch_size // hosts
    rows = batch * batch_size + host * share + np.arange(share)
    return np.minimum(rows, size - 1), (rows < size).astype(np.float32)


def read(source, indices, weight):
    """A batch: the source's arrays at the indices, with "id" int32 and "weight" float32."""
    return {**source.read(indices), "id": indices.astype(np.int32), "weight": weight}


def iterate(source, rows, numbers, *, workers, prefetch):
    """An iterator over batches, read ahead of their use by threads (grain) or worker processes.

    It ends with the last of `numbers`; dropped before that, it takes its threads and processes
    along, as the end of the program does.

    Args:
        source: a Source. One in memory is read by a single thread, another by one for each core.
        rows: number -> (indices, weight); picklable.
        numbers: range of the batches to read.
        workers: number of processes that read a source which is not in memory; 0: threads do.
        prefetch: number of batches read ahead, at least one for each thread or process.

    Raises:
        Whatever `source.read` raises, in place of the batch that holds the example.
    """
    import grain

    batches = _Batches(source, rows, numbers)
    threads = 1
    if not source.in_memory and len(numbers):
        threads = min(workers or os.cpu_count() or 1, len(numbers))
        if workers:
            batches = _Remote(batches, threads)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(prefetch, threads))
    return iter(grain.MapDataset.source(batches).to_iter_dataset(options))


@dataclasses.dataclass(frozen=True)
class _Batches:
    """Random access to whole batches: one item at a time costs grain 10 to 40 times as much."""

    source: Source
    rows: Callable
    numbers: range

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, place):
        return read(self.source, *self.rows(self.numbers[place]))


class _Remote:
    """The same batches, each read in one of a pool of processes.

    Not grain's own processes (mp_prefetch of 0.2.18): where a consumer stops early those take 3 to
    27 s to end and leave shared memory behind.
    """

    def __init__(self, batches, workers):
        self._length = len(batches)
        # Spawned, not forked: this process runs threads of jax and grain.
        self._pool = concurrent.futures.ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(cloudpickle.dumps(batches),),
        )
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def __len__(self):
        return self._length

    def __getitem__(self, place):
        return self._pool.submit(_read_in_worker, place).result()


def _start_worker(batches):
    global _batches  # of this worker process
    _batches = cloudpickle.loads(batches)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()  # a killed parent tells nobody
    os._exit(1)


def _read_in_worker(place):
    return _batches[place]


@functools.lru_cache(maxsize=2)  # a batch may hold the end of one epoch and the start of the next
def _permutation(size, seed, epoch):
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(size)
