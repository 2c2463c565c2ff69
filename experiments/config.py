"""Configs from files: found, overridden, checked; the same for scripts and notebooks."""

import ast
import copy
import difflib
import importlib.util
import pathlib
import shlex

from ml_collections import ConfigDict

from configs import base

_ROOT = pathlib.Path(__file__).resolve().parents[1]


def load_config(path, **overrides):
    """The config in a file, with fields replaced; a locked ConfigDict.

    Args:
        path: of a file with `get_config(variant)`, then perhaps ":VARIANT":
            "configs/classification/lenet_mnist.py:smoke". Relative to the working directory or to
            the repository.
        **overrides: fields by name, nested ones as a dict (schedule={"lr": 0.1}) or dotted
            (**{"schedule.lr": 0.1}). A string is read as the field's type, as on a command line.

    Raises:
        ValueError: no such file, variant or field, or a value of the wrong type; the nearest names
            are listed.
    """
    config = _from_file(str(path))
    given = _flat(overrides)
    override(config, given)
    if len(config.paper) != 3:
        raise ValueError(f'paper must be (source, "split/name", value), got {config.paper!r}.')
    words = [f"--config={path}"] + [f"--config.{name}={_text(v)}" for name, v in given.items()]
    with config.unlocked():
        config.command = shlex.join(words)
    return config


def override(config, given):
    """Replaces fields of a config, {dotted name: value or its text}, in place.

    Raises:
        ValueError: no such field, or a value of the wrong type.
    """
    known = _flat(config)
    for name, value in given.items():
        if name in known:
            parent, _, leaf = name.rpartition(".")
            section = _section(config, parent)
            if _literal(value) is None and _may_be_none(section, leaf):
                section[leaf] = None
            else:
                section[leaf] = _value(name, value, section.get_type(leaf), section[leaf])
        elif name.startswith("model.") and name.count(".") == 1:
            # The model's own attributes: its module knows which there are, and says so.
            with config.unlocked():
                config.model[name.removeprefix("model.")] = _literal(value)
        else:
            near = [k for k in known if k.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
            near += difflib.get_close_matches(name, known, n=3, cutoff=0)
            near = ", ".join(dict.fromkeys(near))
            raise ValueError(f"The config has no field {name!r}. Nearest: {near}.")


def from_plain(tree):
    """The config that config.json holds, typed as configs/base.py is; a locked ConfigDict.

    Raises:
        ValueError: a field that base does not have, or of another type: another version's run.
    """

    def convert(value):
        return tuple(map(convert, value)) if isinstance(value, list) else value

    if "task" not in tree:
        raise ValueError("The run's config.json has no field task: it is damaged.")
    config = base.get_config(task=tree["task"]).lock()
    override(config, {name: convert(value) for name, value in _flat(tree).items()})
    return config


def _from_file(path):
    name, _, variant = path.partition(":")
    file = next((f for f in (pathlib.Path(name), _ROOT / name) if f.is_file()), None)
    if file is None or file.suffix != ".py":
        known = [str(f.relative_to(_ROOT)) for f in sorted(_ROOT.glob("configs/*/*.py"))]
        known = [f for f in known if not f.endswith("__init__.py")]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known
        raise ValueError(f"There is no config file {name!r}. Nearest: {', '.join(near)}.")
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{file} is no config file: it has no get_config(variant).")
    return module.get_config(variant)


def _flat(tree, prefix=""):
    flat = {}
    for name, value in tree.items():
        if isinstance(value, dict | ConfigDict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _section(config, dotted):
    for name in filter(None, dotted.split(".")):
        config = config[name]
    return config


def _may_be_none(section, leaf):
    probe = copy.deepcopy(section)
    probe[leaf] = None
    return probe.get_type(leaf) is not type(None)  # a placeholder keeps its type


def _value(name, value, kind, current):
    """`value` as `kind`, converted from text where it is text."""
    if kind is tuple:
        return _tuple(name, value, current)
    read = _literal(value) if kind is not str else value
    if kind is float and type(read) is int:
        read = float(read)
    if isinstance(read, kind) and (kind is bool or not isinstance(read, bool)):
        return read
    shown = {int: "an integer, as 100", float: "a number, as 0.1", bool: "true or false"}
    raise ValueError(f"{name} must be {shown.get(kind, 'a string')}, got {_text(value)!r}.")


def _tuple(name, value, current):
    """A tuple from a tuple, a list, one value, or words with commas between them.

    Its items have the types of the current ones, further items that of the last. Words are texts
    where the current tuple is empty, and what they stand for where there is none.
    """
    items = _literal(value)
    if isinstance(value, str) and not (isinstance(items, tuple | list) and value[0] in "(["):
        items = value.split(",") if value else ()
    items = items if isinstance(items, tuple | list) else (items,)
    if not current:
        return tuple(map(_literal, items) if current is None else items)
    kinds = [type(item) for item in current]
    return tuple(
        _value(f"{name}[{i}]", item, kinds[min(i, len(kinds) - 1)], current)
        for i, item in enumerate(items)
    )


def _literal(text):
    """What a text on a command line stands for: a Python literal, true, false, none, or itself."""
    if not isinstance(text, str):
        return text
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _text(value):
    return value if isinstance(value, str) else repr(value)
