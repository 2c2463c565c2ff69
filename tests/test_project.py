"""The rules of the project: who imports whom, what is imported when, names, the README."""

import ast
import importlib
import inspect
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from experiments import load_config

ROOT = pathlib.Path(__file__).parents[1]
FILES = [
    file
    for room in ("jaxcv", "experiments", "configs")
    for file in sorted(ROOT.glob(f"{room}/**/*.py"))
]

# Room -> the rooms that it may import besides itself.
ARROWS = {
    "ops": set(),
    "samplers": set(),
    "layers": {"ops"},
    "models": {"layers", "ops"},
    "weights": {"layers", "models"},
    "losses": {"ops"},
    "metrics": {"ops"},
    "data": {"ops"},
    "draw": set(),
    "train": set(),
    "experiments": {"tasks", "train", "data", "draw", "weights", "configs"},
    "configs": set(),
}
ARROWS["tasks"] = set(ARROWS) - {"experiments", "configs"}


def room_of(name):
    """The room of a dotted name: "ops" of jaxcv.ops.boxes, "configs" of configs.base; else None."""
    first, *rest = name.split(".")
    if first == "jaxcv":
        return rest[0] if rest else ""
    return first if first in ARROWS else None


def imports(file):
    """Dotted names that a file imports anywhere: of `from a import b` it is a.b."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_follow_the_arrows(file):
    room = room_of(name_of(file))
    imported = set(imports(file))
    packages = {name.split(".")[0] for name in imported}
    assert not packages & {"torch", "torchvision", "tensorflow"}
    rooms = {room_of(name) for name in imported} - {None, room}
    if name_of(file) == "jaxcv.__init__":
        assert rooms == set()
    else:
        assert rooms <= ARROWS[room], f"{room} may import {ARROWS[room]}"
    if room not in ("layers", "models", "tasks", "weights"):
        assert "flax" not in packages
    if room == "configs":
        assert packages <= {"configs", "ml_collections"}


def test_importing_jaxcv_loads_nothing_heavy():
    code = """
import sys
import jaxcv
assert [name for name in sys.modules if name.startswith("jaxcv.")] == []
from jaxcv import data, draw, layers, losses, metrics, models, ops, tasks, train, weights
import experiments
heavy = ["matplotlib", "PIL", "tensorflow_datasets", "orbax.checkpoint", "sklearn", "grain",
         "tensorboardX", "tensorflow", "torch", "jaxcv.models.lenet", "jaxcv.tasks.classification"]
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def public_functions(file):
    """Functions of a file that others may call, methods aside."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_public_functions_are_documented_and_draw_from_a_key(file):
    for function in public_functions(file):
        if function.name not in ("main", "get_config"):  # of these the file's first lines tell
            assert ast.get_docstring(function), f"{function.name} has no docstring"
        arguments = function.args
        names = {a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs}
        assert not names & {"rng", "rngs", "prng", "prng_key", "random_state"}, "call it key"


@pytest.mark.parametrize("room", ["ops", "losses", "metrics", "draw", "data.augment"])
def test_options_of_functions_of_arrays_come_by_name(room):
    package = importlib.import_module(f"jaxcv.{room}")
    public = [getattr(package, name) for name in package.__all__]
    functions = [f for f in public if not inspect.isclass(f)]  # a record's fields may come in order
    slips = [
        f"{function.__name__}({parameter})"
        for function in functions
        for parameter in inspect.signature(function).parameters.values()
        # None stands for an array that may be left out.
        if parameter.default not in (parameter.empty, None)
        and parameter.kind is not parameter.KEYWORD_ONLY
    ]
    assert functions
    assert slips == []


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.name == "__init__.py" and file.read_text()], ids=name_of
)
def test_a_package_lists_its_public_names_and_nothing_else(file):
    docstring, *body = ast.parse(file.read_text()).body
    assert isinstance(docstring.value, ast.Constant)
    if not body:
        return
    *froms, listing = body
    assert all(isinstance(node, ast.ImportFrom) for node in froms)
    given = [alias.asname or alias.name for node in froms for alias in node.names]
    names = ast.literal_eval(listing.value)
    assert listing.targets[0].id == "__all__"
    assert sorted(names) == sorted(given)
    package = importlib.import_module(name_of(file.parent))
    for name in names:
        public = getattr(package, name)
        assert inspect.getdoc(public), f"{name} has no docstring"


def blocks(text, language):
    """Contents of the fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks((ROOT / "README.md").read_text(), "python"):
        exec(compile(block, "README.md", "exec"), names)


def commands():
    """Arguments of every `python -m experiments...` that people are told of, with its place."""
    places = [
        ROOT / "README.md",
        ROOT / "Makefile",
        *ROOT.glob("docs/*.md"),
        *(file for file in FILES if file.parts[-2] != "jaxcv"),
    ]
    for place in places:
        text = place.read_text().replace("\\\n", " ")
        for command in re.findall(r"-m (experiments\.\w+ --[^\n`]*)", text):
            yield pytest.param(shlex.split(command), id=f"{place.name}: {command[:40]}")


@pytest.mark.parametrize("command", commands())
def test_commands_that_people_are_told_of_name_what_there_is(command):
    script, *arguments = command
    path = ROOT / f"{script.replace('.', '/')}.py"
    flags = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', path.read_text()))
    file, overrides = "configs/classification/lenet_digits.py", {}
    for argument in arguments:
        assert argument.startswith("--"), argument
        name, equals, value = argument.removeprefix("--").partition("=")
        if name == "config":
            file = value
        if name.startswith("config."):
            overrides[name.removeprefix("config.")] = value
        else:
            assert name in flags, name
            assert equals, f"{argument}: without a value"
    load_config(file, **overrides)


def tracked():
    ran = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in ran.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_is_larger_than_a_megabyte():
    assert [file.name for file in tracked() if file.stat().st_size > 2**20] == []


def test_no_file_names_a_folder_of_one_machine():
    suffixes = (".py", ".md", ".cfg", ".toml", ".ipynb", ".json", "")
    pattern = re.compile(r"(?<![\w.$~}*/-])/(work|tmp|root|home)/")
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in tracked()
        if file.suffix in suffixes and file != pathlib.Path(__file__)
        for line in file.read_text().splitlines()
        if pattern.search(line)
    ]
    assert found == []


def test_make_knows_demo_and_test_and_ci_runs_the_tests():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert "make test" in (ROOT / ".ci" / "run").read_text()
