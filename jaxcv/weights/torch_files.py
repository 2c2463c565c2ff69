"""PyTorch's checkpoint files, .pth, read and written without PyTorch.

Two formats: a zip file (since 1.6) with a pickle and one uncompressed entry for each storage, and
the older one, a few pickles and the storages one after the other.
"""

import contextlib
import functools
import io
import math
import mmap
import os
import pickle
import zipfile

import numpy as np

from jaxcv.weights import pickles
from jaxcv.weights.stored import Stored

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format
_ORDERS = {"little": "<", "big": ">"}
# Where checkpoints keep the state dict beside an epoch, an optimiser and the like. Of several the
# first counts: what was trained comes before its moving averages.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params")
_WRAPPERS += ("model_ema", "state_dict_ema", "params_ema")


@contextlib.contextmanager
def open_zip(archive):
    """The state dict, {key: Stored}, of a checkpoint in the zip format.

    Args:
        archive: an open zipfile.ZipFile with an entry NAME/data.pkl.

    Raises:
        ValueError: it is damaged, compressed, or wants more than tensors and plain containers.
    """
    entries = {entry.filename: entry for entry in archive.infolist()}
    root, *more = (name.rpartition("/")[0] for name in entries if name.endswith("/data.pkl"))
    if more:
        raise ValueError(f"it has several pickles, in {[root, *more]}")
    for name, entry in entries.items():
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its entry {name} is compressed, as in no checkpoint of tensors")
    if sum(entry.file_size for entry in entries.values()) > os.fstat(archive.fp.fileno()).st_size:
        raise ValueError("its entries are larger than the file: they overlap")
    byteorder = f"{root}/byteorder"
    order = "big" if byteorder in entries and archive.read(byteorder) == b"big" else "little"
    value, storages = pickles.read(io.BytesIO(archive.read(f"{root}/data.pkl")))
    for key, storage in storages.items():
        entry = entries.get(f"{root}/data/{key}")
        size = storage.numel * storage.dtype.itemsize
        if entry is None or entry.file_size != size:
            found = "is not there" if entry is None else f"has {entry.file_size} bytes"
            raise ValueError(f"its storage {key} {found}, the pickle says {size} bytes")

    @functools.lru_cache(maxsize=4)  # tensors that share a storage
    def numbers(key):
        data = archive.read(f"{root}/data/{key}")
        return np.frombuffer(data, storages[key].dtype.newbyteorder(_ORDERS[order]))

    yield _state_dict(value, numbers)


@contextlib.contextmanager
def open_older(file):
    """As `open_zip`, of the format before it.

    Args:
        file: open for reading bytes.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        magic, _ = pickles.read(content)
        if magic != _MAGIC:
            found = pickles.shown(magic)
            raise ValueError(f"its magic number is {found}, that of a checkpoint {_MAGIC:#x}")
        protocol, _ = pickles.read(content)
        system, _ = pickles.read(content)
        if protocol != _PROTOCOL or not isinstance(system, dict):
            raise ValueError(f"its protocol is {pickles.shown(protocol)}, known is {_PROTOCOL}")
        order = "little" if system.get("little_endian", True) else "big"
        value, storages = pickles.read(content)
        keys, _ = pickles.read(content)
        plain = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not plain or set(keys) != set(storages):
            raise ValueError("its list of storages differs from those that its pickle names")
        places, place = {}, content.tell()
        for key in keys:
            storage = storages[key]
            places[key] = place + 8
            numel = int.from_bytes(content[place : place + 8], order)
            place += 8 + numel * storage.dtype.itemsize
            if place > len(content):
                raise ValueError(f"it is truncated: it ends within storage {key}")
            if numel != storage.numel:
                raise ValueError(f"its storage {key} has {numel} numbers, not {storage.numel}")

        @functools.lru_cache(maxsize=4)  # tensors that share a storage
        def numbers(key):
            dtype = storages[key].dtype.newbyteorder(_ORDERS[order])
            end = places[key] + storages[key].numel * dtype.itemsize
            return np.frombuffer(content[places[key] : end], dtype)

        yield _state_dict(value, numbers)


def write(file, state_dict, *, version=None):
    """Writes a state dict in the zip format, as torch.load(weights_only=True) reads it.

    Args:
        file: open for writing bytes.
        state_dict: {key: NumPy array}.
        version: of the root module, for the loaders that demand one.
    """
    arrays = state_dict.values()
    entries = {
        "data.pkl": _pickle(state_dict, version),
        "byteorder": b"little",
        **{f"data/{i}": _little(array).tobytes() for i, array in enumerate(arrays)},
        "version": b"3\n",
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)


def _state_dict(value, numbers):
    """{key: Stored} of what a checkpoint's pickle gives.

    `numbers` is a function from a storage's key to all that is stored there.
    """
    for _ in range(3):
        inner = [value[word] for word in _WRAPPERS if isinstance(value, dict) and word in value]
        value = next((item for item in inner if isinstance(item, dict)), value)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not a state dict")
    others = [key for key, item in value.items() if not isinstance(item, pickles.Tensor)]
    if others or not all(isinstance(key, str) for key in value):
        found = ", ".join(map(pickles.shown, others[:8]))
        raise ValueError(
            f"it holds no state dict: {found} are no tensors. A state dict beside other things is"
            f" looked for under {', '.join(_WRAPPERS)}"
        )
    return {key: _stored(tensor, numbers) for key, tensor in value.items()}


def _stored(tensor, numbers):
    def view():
        flat = numbers(tensor.storage.key)[tensor.offset :]
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, flat.dtype)
        strides = [stride * flat.itemsize for stride in tensor.strides]
        return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)

    return Stored(tensor.shape, tensor.storage.dtype, view)


def _pickle(state_dict, version):
    """The pickle that makes the state dict: an ordered dict of calls of torch's functions."""
    kinds = {dtype: kind for kind, dtype in pickles.STORAGES.items()}
    ordered = b"ccollections\nOrderedDict\n)R"
    parts = [b"\x80\x02", ordered, b"("]
    for index, (key, array) in enumerate(state_dict.items()):
        kind = kinds[array.dtype.newbyteorder("=")]
        strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
        parts += [
            _constant(key),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            _constant("storage"),
            f"ctorch\n{kind}\n".encode(),
            *map(_constant, (str(index), "cpu", array.size)),
            b"tQ",  # a persistent id: the storage
            *map(_constant, (0, array.shape, strides, False)),
            ordered,
            b"tR",
        ]
    parts.append(b"u")
    if version is not None:  # as an attribute of the ordered dict
        metadata = [_constant(""), _constant({"version": version})]
        parts += [b"}", _constant("_metadata"), ordered, *metadata, b"ssb"]
    return b"".join([*parts, b"."])


def _constant(value):
    """The instructions that push a number, a text, or a tuple or dict of them."""
    return pickle.dumps(value, 2)[2:-1]


def _little(array):
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
