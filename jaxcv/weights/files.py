"""Checkpoint files of any format: found by their content, read without running anything."""

import contextlib
import math
import os
import pathlib
import zipfile
import zlib

import jax.numpy as jnp
import numpy as np

from jaxcv import models
from jaxcv.weights import conversion, layout, table, torch_files
from jaxcv.weights.stored import Stored

_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt")
# Of .safetensors files: those of NumPy, and bfloat16. (The format has 8 bits and fewer.)
_DTYPES = ("F64", "F32", "F16", "BF16", "BOOL", "I64", "I32", "I16", "I8")
_DTYPES += ("U64", "U32", "U16", "U8")


def load(name, path, *, new_head=None, image_shape=None, say=print, **overrides):
    """Variables of a model from a file in the reference's layout.

    Args:
        name: of `models.available()`.
        path: a .safetensors, .npz or PyTorch file of either format, whatever its name; or
            "published", the file that `published(name)` tells of, downloaded once; or
            "published:v2" for that of `published("NAME:v2")`. A PyTorch file may hold other things
            beside the state dict, which is then under the first of "state_dict",
            "model_state_dict", "model", "net", "params", "model_ema", "state_dict_ema" and
            "params_ema" that is there: moving averages are read where they are alone.
        new_head, image_shape, say, **overrides: of `convert`.

    Returns:
        Variables, as of `convert`.

    Raises:
        FileNotFoundError: there is no such file, or it cannot be downloaded: says where to put it.
        ValueError: the file is damaged, of no known kind, wants to run code, or does not fit the
            model.
    """
    model = models.create(name, **overrides)
    word, colon, version = str(path).partition(":")
    if word == "published":
        path = table.fetch(table.published(f"{name}{colon}{version}"), say=say)
    try:
        with _opened(path) as state_dict:
            return conversion.to_variables(
                model,
                state_dict,
                new_head=new_head,
                image_shape=image_shape,
                resample="image_size" in overrides,
                say=say,
            )
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}.") from error


def save(name, variables, path, *, image_shape=None, **overrides):
    """Writes a model's variables in the reference's layout, for the reference to load.

    Args:
        name: of `models.available()`.
        variables: of this model, arrays of any kind. Every value keeps its bits.
        path: ends in .safetensors, .npz or .pth. A file that is there is replaced once the new one
            is whole.
        image_shape, **overrides: of `convert`.

    Raises:
        ValueError: another suffix, or the variables are not the model's.
    """
    path = pathlib.Path(path)
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"path must end in {', '.join(_SUFFIXES)}, got {str(path)!r}.")
    model = models.create(name, **overrides)
    state_dict = conversion.to_state_dict(model, variables, image_shape=image_shape)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(part, path.suffix, state_dict, layout.rules_of(model).get("version"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# What the reading of a damaged zip file raises.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError)


@contextlib.contextmanager
def _opened(path):
    """The state dict in a file: {key: NumPy array or Stored}."""
    with open(path, "rb") as file:
        start = file.read(9)
        file.seek(0)
        if start.startswith(b"PK\x03\x04"):
            try:
                with zipfile.ZipFile(file) as archive, _opened_zip(archive) as state_dict:
                    yield state_dict
            except _DAMAGED as error:
                raise ValueError(f"it is damaged or truncated: {error}") from error
        elif start.startswith(b"\x80"):
            with torch_files.open_older(file) as state_dict:
                yield state_dict
        elif start.endswith(b"{"):
            yield _read_safetensors(path)
        else:
            raise ValueError(
                f"it starts with {start!r}, which is neither a .safetensors nor an .npz nor a"
                " PyTorch file"
            )


@contextlib.contextmanager
def _opened_zip(archive):
    for entry in archive.infolist():
        plain = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if entry.flag_bits & 1 or not plain:
            raise ValueError(f"its entry {entry.filename} is encrypted, or compressed unusually")
    names = archive.namelist()
    if any(name.endswith("/data.pkl") for name in names):
        with torch_files.open_zip(archive) as state_dict:
            yield state_dict
    elif names and all(name.endswith(".npy") for name in names):
        yield {name.removesuffix(".npy"): _npy(archive, name) for name in names}
    else:
        raise ValueError(f"it is a zip file of {names[:5]}, not .npz or PyTorch's")


def _npy(archive, name):
    """The Stored of an array in an .npz file, whose size is what its own header says."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"its array {name} has version {version} of the format")
        shape, _, dtype = read_header(file)
        size = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"its array {name} holds Python objects: refused")
    if size != archive.getinfo(name).file_size:
        raise ValueError(f"its array {name} of {list(shape)} {dtype} has another size than that")

    def read():
        with archive.open(name) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    return Stored(shape, dtype, read)


def _read_safetensors(path):
    import safetensors.numpy

    try:
        with safetensors.safe_open(path, "np") as file:
            for key in file.keys():  # noqa: SIM118, it is no dict
                if (dtype := file.get_slice(key).get_dtype()) not in _DTYPES:
                    raise ValueError(
                        f"its tensor {key} has the dtype {dtype}, read are {', '.join(_DTYPES)}"
                    )
        return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"it is no .safetensors file or is damaged: {error}") from error


def _write(path, suffix, state_dict, version):
    if suffix == ".safetensors":
        import safetensors.numpy

        # For the reference's loaders, which look for it.
        safetensors.numpy.save_file(state_dict, path, metadata={"format": "pt"})
    elif suffix == ".npz":
        wide = {
            key: array.astype(np.float32) if array.dtype == jnp.bfloat16 else array
            for key, array in state_dict.items()
        }  # NumPy's files know no bfloat16; no bit is lost
        with open(path, "wb") as file:
            np.savez(file, **wide)
    else:
        with open(path, "wb") as file:
            torch_files.write(file, state_dict, version=version)
