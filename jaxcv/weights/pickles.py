"""Reads the pickles inside PyTorch's checkpoints: nothing is imported and nothing is called.

A pickle is a program for a stack machine that may call any function of any module. This machine
knows containers, numbers, strings and PyTorch's tensors as mere descriptions; all else is refused
by name before anything is done with it.
"""

import dataclasses
import pickletools
import reprlib

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Storage:
    """A range of the numbers stored under a key."""

    key: str
    dtype: np.dtype
    numel: int  # that are stored
    start: int
    length: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage, within its bounds; strides and offset count numbers."""

    storage: Storage
    offset: int  # from the beginning of what is stored
    shape: tuple
    strides: tuple


def read(stream):
    """(value, storages {key: Storage}) of the pickle that a stream continues with.

    Tensors are `Tensor`, ordered dicts are dicts. The stream's next byte is the one after.

    Args:
        stream: with `read`, `readline` and `tell`, whose reads allocate no more than there is.

    Raises:
        ValueError: the pickle wants a function or class that is no plain container or tensor, has
            an instruction of that kind, is truncated or damaged.
    """
    machine = _Machine()
    try:
        for code, argument, _ in pickletools.genops(stream):
            machine.step(code.name, argument)
        (value,) = machine.stack
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error})") from error
    return value, machine.storages


def shown(value):
    """A value from a file as text for a message, short whatever it is."""
    form = reprlib.Repr()
    form.maxlevel = 1
    return form.repr(value)


# torch's names of storages, and what is in them.
STORAGES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(bool),
}
_PUSHES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_MAKES = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_MOST_AXES = 64  # NumPy's
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclasses.dataclass(frozen=True)
class _Name:
    """A function or class that the pickle names; it stands for nothing but its name."""

    name: str


class _Machine:
    def __init__(self):
        self.stack, self.memo, self.storages = [], {}, {}
        self._below = []  # stacks below the marks

    def step(self, code, argument):
        """One instruction of the pickle."""
        stack = self.stack
        if code in _PUSHES:
            stack.append(argument)
        elif code in _MAKES:
            stack.append(_MAKES[code]())
        elif code in _TUPLES:
            count = _TUPLES[code]
            stack[-count:] = [tuple(stack[-count:])]
        elif code in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif code == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif code in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif code == "MARK":
            self._below.append(stack)
            self.stack = []
        elif code in ("TUPLE", "LIST", "DICT"):
            made = {"TUPLE": tuple, "LIST": list, "DICT": _pairs}[code](self._marked())
            self.stack.append(made)
        elif code in ("APPEND", "APPENDS"):
            items = self._marked() if code == "APPENDS" else [stack.pop()]
            _expect(self.stack[-1], list).extend(items)
        elif code in ("SETITEM", "SETITEMS"):
            items = self._marked() if code == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _expect(self.stack[-1], dict).update(_pairs(items))
        elif code == "ADDITEMS":
            items = self._marked()
            _expect(self.stack[-1], set).update(_keys(items))
        elif code == "GLOBAL":
            stack.append(_known(argument.replace(" ", ".")))
        elif code == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(_known(f"{module}.{name}"))
        elif code == "REDUCE":
            arguments, function = _expect(stack.pop(), tuple), stack.pop()
            stack.append(_rebuild(_expect(function, _Name).name, arguments))
        elif code == "BUILD":
            stack.pop()  # attributes of an ordered dict, as versions of modules
            _expect(stack[-1], dict)
        elif code == "BINPERSID":
            stack.append(self._storage(*_expect(stack.pop(), tuple)))
        elif code == "POP":
            stack.pop()
        elif code not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"its pickle has the instruction {code}, which no state dict needs")

    def _marked(self):
        """What the stack holds above the last mark; the stack below it is the stack again."""
        items, self.stack = self.stack, self._below.pop()
        return items

    def _storage(self, word, kind, key, device, numel, view=None):
        """What stands for the numbers under a key. The device (cpu, cuda:0) makes no difference."""
        dtype = STORAGES.get(_expect(kind, _Name).name.rpartition(".")[2])
        if word != "storage" or dtype is None or not isinstance(key, str) or not _counts(numel):
            found = shown((word, kind, key, numel))
            raise ValueError(f"its pickle has a storage that is none: {found}")
        _, start, length = view or (None, 0, numel)
        if not _counts(start, length) or start + length > numel:
            raise ValueError(
                f"storage {key} has {numel} numbers, a view of it (start, length)"
                f" {shown((start, length))}"
            )
        stored = Storage(key, dtype, numel, start, length)
        first = self.storages.setdefault(key, stored)
        if (first.dtype, first.numel) != (dtype, numel):
            raise ValueError(f"storage {key} is {first.dtype} and {dtype} at once")
        return stored


def _known(name):
    module, _, last = name.rpartition(".")
    plain = name in ("collections.OrderedDict", "torch.Size") or (
        module == "torch._utils" and last in _REBUILDS
    )
    if not plain and not (module in ("torch", "torch.cuda") and last in STORAGES):
        raise ValueError(
            f"it wants {name}, which is no tensor or plain container: refused, and nothing was run."
            " Save the state dict alone where the file comes from"
        )
    return _Name(name)


def _rebuild(name, arguments):
    """What the function of this name would make of its arguments."""
    if name == "collections.OrderedDict":
        pairs = arguments[0] if arguments else []
        return dict(_pairs([*pair]).popitem() for pair in pairs if len(pair) == 2)
    if name == "torch.Size":
        return tuple(arguments[0])
    if name == "torch._utils._rebuild_parameter":
        return _expect(arguments[0], Tensor)
    if not name.startswith("torch._utils."):
        raise TypeError(f"{name} is called")
    storage, offset, shape, strides = (arguments[i] for i in range(4))
    return _tensor(_expect(storage, Storage), offset, shape, strides)


_REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")


def _tensor(storage, offset, shape, strides):
    """A Tensor whose every element lies in its storage."""
    axes = len(_expect(shape, tuple)), len(_expect(strides, tuple))
    whole = axes[0] == axes[1] <= _MOST_AXES and _counts(offset, *shape, *strides)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides)) if whole else 0
    if not whole or (0 not in shape and last >= storage.length):
        raise ValueError(
            f"a tensor of shape {shown(shape)}, strides {shown(strides)} and offset"
            f" {shown(offset)} does not lie in its storage {storage.key} of {storage.length}"
            " numbers"
        )
    return Tensor(storage, storage.start + offset, shape, strides)


def _counts(*values):
    return all(type(value) is int and value >= 0 for value in values)


def _expect(value, kind):
    if not isinstance(value, kind):
        due = getattr(kind, "__name__", kind)
        raise TypeError(f"{type(value).__name__} where {due} is due")
    return value


def _pairs(items):
    if len(items) % 2:
        raise TypeError("a dict whose last key has no value")
    return dict(zip(_keys(items[::2]), items[1::2]))


def _keys(items):
    """The items, if they are plain: the hash of a few nested tuples can take for ever."""
    for item in items:
        _expect(item, str | int | float | bytes | None)
    return items
