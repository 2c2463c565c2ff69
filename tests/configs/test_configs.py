"""What holds for every config file, present and future."""

import json
import pathlib

import pytest

from configs import base
from experiments import load_config
from experiments.config import _flat as flat
from tests.experiments import scripts

FILES = [
    str(path.relative_to(scripts.ROOT))
    for path in sorted(scripts.ROOT.glob("configs/*/*.py"))
    if path.name != "__init__.py"
]
# CIFAR's networks have three stages, which only the depth makes small.
SHALLOW = {"resnet20": {"model.depth": 8}, "resnet56": {"model.depth": 8}}


@pytest.mark.parametrize("variant", ["", ":smoke"])
@pytest.mark.parametrize("file", FILES)
def test_it_has_the_fields_of_base_with_their_types_and_is_locked(file, variant):
    config = load_config(file + variant)
    assert config.is_locked
    defaults = base.get_config(task=pathlib.Path(file).parent.name)
    assert config.task == defaults.task
    fields, known = flat(config), flat(defaults)
    assert known.keys() <= fields.keys()
    assert all(name.startswith("model.") for name in fields.keys() - known.keys())
    for name, default in known.items():
        if default is not None and fields[name] is not None:
            assert type(fields[name]) is type(default), name


@pytest.mark.parametrize("file", FILES)
def test_it_says_what_it_reproduces_and_how_to_run_it(file):
    source, metric, value = load_config(file).paper
    if source:
        split, _, name = metric.partition("/")
        assert split in load_config(file).data.eval_splits
        assert name
        assert value > 0
    else:
        assert (metric, value) == ("", 0.0)
    header = (scripts.ROOT / file).read_text().split('"""')[1]
    assert f"python -m experiments.train --config={file} --workdir=runs/" in header


@pytest.mark.parametrize("file", FILES)
def test_its_smoke_needs_no_data_from_elsewhere(file):
    assert load_config(f"{file}:smoke").data.name in ("digits", "digit_scenes")


@pytest.mark.parametrize("file", FILES)
def test_it_names_its_variants(file):
    with pytest.raises(ValueError, match=r"no variant :nonsense; it has: .*:smoke"):
        load_config(f"{file}:nonsense")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Compiled programs, for configs that differ in what SHALLOW makes equal."""
    return tmp_path_factory.mktemp("cache")


def test_the_smoke_of_a_recipe_on_imagenet_learns_the_digits(cache, tmp_path):
    ran = scripts.run(
        tmp_path,
        "train",
        "--config=configs/classification/resnet50.py:smoke",
        f"--workdir={tmp_path / 'run'}",
        f"--config.compilation_cache={cache}",
        "--config.pictures=0",
    )
    assert (ran.status, ran.stderr) == (0, "")
    metrics = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]
    assert metrics["test/top1"] >= 0.9


@pytest.mark.parametrize("file", FILES)
def test_its_smoke_takes_three_steps_an_evaluation_and_a_checkpoint(file, cache, tmp_path):
    model = load_config(f"{file}:smoke").model.name
    fields = {"steps": 3, "batch_size": 8, "compilation_cache": cache, "pictures": 0}
    fields |= SHALLOW.get(model, {})
    ran = scripts.run(
        tmp_path,
        "train",
        f"--config={file}:smoke",
        f"--workdir={tmp_path / 'run'}",
        *(f"--config.{name}={value}" for name, value in fields.items()),
        optimized=False,
    )
    assert (ran.status, ran.stderr) == (0, "")
    metrics = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]
    assert 0 < metrics["train/loss"] < float("inf")
    assert any(not name.startswith("train/") for name in metrics)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["3"]
