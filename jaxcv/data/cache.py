"""Decoded copies of sets that fit into memory: made once, memory-mapped by every later start.

Each array of a split is a .npy file, KEY.NAME.npy, and KEY.json holds their checksums. The key
depends on the split, the shape of its arrays and the paths, sizes and times of the files it is read
from, so changed files make a new copy. Every file appears under its name in one step, complete.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import time
import uuid
import zlib

import numpy as np
from absl import logging

from jaxcv.data.source import reader

_VERSION = 1  # to be raised when decoding or fitting gives other pixels
_CHUNK = 256  # examples read at a time


def cached(source, *, folder="", limit):
    """A source that reads from memory what `source` decodes; `source` itself where it is too large.

    Args:
        source: a Source whose examples are all of one shape.
        folder: where the copies are kept; "": $JAXCV_CACHE or ~/.cache/jaxcv.
        limit: size in bytes of the decoded arrays up to which they are kept.

    Cost: the first time, decoding everything; later, one pass over the copy for its checksum. A
    folder that cannot be written costs a warning and the decoding at each start.
    """
    if source.in_memory:
        return source
    probe = source.read(np.arange(1))
    if sum(array.nbytes for array in probe.values()) * source.size > limit:
        return source
    base = _folder(folder) / _key(source, probe)
    name = f"{source.name}/{source.split}"
    arrays = _load(base, source, probe)
    if arrays is None:
        logging.info("decoding %s once, %d examples, into %s", name, source.size, base)
        arrays = _decode(source, probe)
        try:
            _save(base, arrays)
        except OSError as error:
            logging.warning(
                "data.cache_dir: %s cannot be written (%s), so %s is decoded at every start.",
                base.parent,
                error,
                name,
            )
    return dataclasses.replace(source, read=reader(arrays), in_memory=True)


def _folder(folder):
    return pathlib.Path(folder or os.environ.get("JAXCV_CACHE", "~/.cache/jaxcv")).expanduser()


def _key(source, probe):
    files = [(os.path.abspath(path), os.stat(path)) for path in source.files()]
    content = {
        "version": _VERSION,
        "source": (source.name, source.split, source.size, source.class_names),
        "arrays": [(name, a.shape, str(a.dtype)) for name, a in sorted(probe.items())],
        "files": [(path, status.st_size, status.st_mtime_ns) for path, status in files],
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    readable = re.sub(r"[^\w.]+", "-", f"{source.name}-{source.split}").strip("-")
    return f"{readable}-{digest}"


def _load(base, source, probe):
    """The arrays as kept, memory-mapped; None where they are absent or damaged."""
    try:
        checksums = json.loads(_path(base, "json").read_text())
        arrays = {name: np.load(_path(base, f"{name}.npy"), mmap_mode="r") for name in probe}
        good = all(
            array.shape == (source.size, *probe[name].shape[1:])
            and array.dtype == probe[name].dtype
            and zlib.crc32(array) == checksums[name]
            for name, array in arrays.items()
        )
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file raises anything, and all of it means: again
        logging.warning("%s: the decoded copy is damaged (%s) and is made again.", base, error)
        return None
    if not good:
        logging.warning("%s: the decoded copy is damaged and is made again.", base)
        return None
    return {name: np.asarray(array) for name, array in arrays.items()}


def _decode(source, probe):
    arrays = {name: np.empty((source.size, *a.shape[1:]), a.dtype) for name, a in probe.items()}

    def fill(start):
        indices = np.arange(start, min(start + _CHUNK, source.size))
        for name, array in source.read(indices).items():
            arrays[name][indices] = array

    starts = range(0, source.size, _CHUNK)
    with concurrent.futures.ThreadPoolExecutor(_threads(source)) as pool:
        try:
            list(pool.map(fill, starts))
        except BaseException:  # an unreadable example, Ctrl-C: do not decode the rest first
            pool.shutdown(cancel_futures=True)
            raise
    return arrays


def _threads(source):
    # Below about a millisecond an image the interpreter's lock costs more than threads gain: MNIST
    # decodes at 17,000 images/s with one thread and 12,600 with two. Photographs gain all cores.
    indices = np.arange(min(8, source.size))
    start = time.perf_counter()
    source.read(indices)
    slow = (time.perf_counter() - start) / len(indices) > 1e-3
    return (os.cpu_count() or 1) if slow else 1


def _save(base, arrays):
    base.parent.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        _replace(_path(base, f"{name}.npy"), lambda file, array=array: np.save(file, array))
    checksums = {name: zlib.crc32(array) for name, array in arrays.items()}
    _replace(_path(base, "json"), lambda file: file.write(json.dumps(checksums).encode()))


def _replace(path, write):
    """Writes a file under a name that nobody else uses, then gives it its name in one step."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _path(base, ending):
    return base.with_name(f"{base.name}.{ending}")
