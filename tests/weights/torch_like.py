"""Writes files as PyTorch writes them, for tests, with Python's own pickler.

    torch_like.write(path, {"state_dict": {"fc.weight": torch_like.Tensor(array)}}, older=True)
"""

import collections
import contextlib
import dataclasses
import io
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

_KINDS = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
}


@dataclasses.dataclass
class Storage:
    """Numbers that tensors look into; the pickle may say of them what is not so."""

    numbers: np.ndarray  # flat
    device: str = "cpu"
    says: int | None = None  # how many there are
    view: tuple | None = None  # (key, start, length): the part that a tensor's offset counts in

    @property
    def key(self):
        return str(id(self))


class Tensor:
    """A view of a storage: by default, of one of its own, the whole of it in rows."""

    def __init__(self, array, *, storage=None, offset=0, shape=None, strides=None, device="cpu"):
        array = np.asarray(array)
        self.storage = storage or Storage(array.reshape(-1), device)
        self.offset = offset
        self.shape = array.shape if shape is None else shape
        rows = np.cumprod((1, *self.shape[:0:-1]))[::-1]
        self.strides = tuple(map(int, rows[: len(self.shape)])) if strides is None else strides

    function, rest = "_rebuild_tensor_v2", (False, collections.OrderedDict())

    def __reduce__(self):
        function = getattr(sys.modules["torch._utils"], self.function)
        return function, (self.storage, self.offset, self.shape, self.strides, *self.rest)


class OldTensor(Tensor):
    """As files of 2017 have them."""

    function, rest = "_rebuild_tensor", ()


def write(path, value, *, older=False, **zip_options):
    """Writes a value with Tensors in it.

    Args:
        path: of the file.
        value: what Python can pickle.
        older: in the format before the zip files.
        **zip_options: of zipfile.ZipFile.
    """
    storages = {}
    with _torch():
        content = _pickled(value, storages, 6 if older else 5)
    if older:
        keys = sorted(storages)
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
        with open(path, "wb") as file:
            for part in (0x1950A86A20F9469CFC6C, 1001, system):
                pickle.dump(part, file, 2)
            file.write(content)
            pickle.dump(keys, file, 2)
            for key in keys:
                numbers = storages[key].numbers
                file.write(struct.pack("<q", len(numbers)) + numbers.tobytes())
    else:
        with zipfile.ZipFile(path, "w", **zip_options) as archive:
            archive.writestr("model/data.pkl", content)
            for key, storage in storages.items():
                archive.writestr(f"model/data/{key}", storage.numbers.tobytes())
            archive.writestr("model/version", "3\n")


class _Pickler(pickle.Pickler):
    def __init__(self, file, storages, length):
        super().__init__(file, 2)
        self._storages, self._length = storages, length

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self._storages[value.key] = value
        kind = getattr(sys.modules["torch"], _KINDS[value.numbers.dtype.name])
        says = len(value.numbers) if value.says is None else value.says
        return ("storage", kind, value.key, value.device, says, value.view)[: self._length]


def _pickled(value, storages, length):
    buffer = io.BytesIO()
    _Pickler(buffer, storages, length).dump(value)
    return buffer.getvalue()


@contextlib.contextmanager
def _torch():
    """Modules of torch's names while a pickle is made, which names what is in them."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in _KINDS.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        function = types.FunctionType((lambda: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    torch._utils = utils
    assert "torch" not in sys.modules
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield
    finally:
        del sys.modules["torch"], sys.modules["torch._utils"]
