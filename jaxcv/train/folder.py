"""A run's folder: whose it is, which config it holds, and writing into it whole or not at all."""

import contextlib
import fcntl
import json
import os
import pathlib

# What may differ when a run is taken up again, for it does not change results.
FREE_FIELDS = (
    "command",
    "debug",
    "profile",
    "profile_steps",
    "compilation_cache",
    "checkpoint_keep",
    "data.dir",
    "data.download",
    "data.cache_dir",
    "data.cache_limit",
    "data.workers",
    "data.prefetch",
)


class FolderRefused(ValueError):
    """A run may not work in this folder; the message says why and what to do."""


def check(workdir, config):
    """Raises FolderRefused if `claim` would, as things are now; writes nothing."""
    workdir = pathlib.Path(workdir)
    there = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise _unwritable(workdir, f"{there} is no folder that may be written")
    if workdir.is_dir():
        lock = workdir / ".lock"
        if lock.exists():
            with open(lock) as file:
                _hold(file, workdir)
        _check_config(workdir, config)


@contextlib.contextmanager
def claim(workdir, config):
    """Holds `workdir` for one run of `config`, made and marked with it if it is new.

    Args:
        workdir: path of the folder.
        config: the run's ConfigDict.

    Raises:
        FolderRefused: it cannot be written, another run is at work in it, or it holds a run of
            another config (fields that do not change results aside).
    """
    workdir = pathlib.Path(workdir)
    with contextlib.ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(workdir / ".lock", "a"))
        except OSError as error:
            raise _unwritable(workdir, error.strerror) from error
        _hold(lock, workdir)
        _check_config(workdir, config)
        if not (workdir / "config.json").exists():
            text = json.dumps(plain(config), indent=2, sort_keys=True)
            write_whole(workdir / "config.json", text + "\n")
        yield workdir


def read_config(workdir):
    """The config of the run in `workdir` as nested dicts.

    Raises:
        FileNotFoundError: no run was started there.
        ValueError: config.json is not JSON.
    """
    path = pathlib.Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: no run was started in this folder. --workdir must name the"
            " folder that experiments.train was given."
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error


def read_result(workdir):
    """What result.json of the run in `workdir` holds; {} if it is not there or damaged."""
    try:
        return json.loads((pathlib.Path(workdir) / "result.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def write_whole(path, content):
    """Writes bytes or text to `path` in one step: nobody ever sees half of it."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if isinstance(content, str):
        content = content.encode()
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def plain(config):
    """A ConfigDict as what JSON gives back: dicts, lists, numbers, strings, None."""
    return json.loads(config.to_json())


def _unwritable(workdir, reason):
    return FolderRefused(
        f"The folder {workdir} cannot be written ({reason}). Give another one with --workdir."
    )


def _hold(lock, workdir):
    """Locks the open file until it is closed or the process ends, however it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderRefused(
            f"Another run is at work in {workdir}. Wait for it, end it, or give another folder"
            " with --workdir."
        ) from error


def _check_config(workdir, config):
    if not (workdir / "config.json").exists():
        return
    try:
        old = read_config(workdir)
    except ValueError as error:
        raise FolderRefused(f"{error} Give another folder with --workdir.") from error
    old, new = _flat(old), _flat(plain(config))
    changed = sorted(
        name
        for name in old.keys() | new.keys()
        if name not in FREE_FIELDS and old.get(name, "absent") != new.get(name, "absent")
    )
    if changed:
        shown = "; ".join(
            f"{name} is {old.get(name, 'absent')!r} there, {new.get(name, 'absent')!r} here"
            for name in changed[:5]
        )
        raise FolderRefused(
            f"{workdir} holds a run of another config: {shown}{'; ...' * (len(changed) > 5)}."
            " Give the same config to go on with it, or another folder with --workdir."
        )


def _flat(tree, prefix=""):
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return flat
