import json

import jax
import numpy as np

from jaxcv import models, train, weights
from tests.experiments.conftest import DIGITS


def test_the_smoke_run_learns_the_digits(trained):
    result = json.loads((trained / "result.json").read_text())
    assert result["metrics"]["test/top1"] >= 0.9
    assert result["metrics"]["test/count"] == 360
    assert result["config"]["command"] == f"{DIGITS} --config.compilation_cache="
    assert result["config"]["data"]["class_names"] == list("0123456789")


def test_a_run_leaves_its_metrics_pictures_and_checkpoints(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    steps = [(row["split"], row["step"]) for row in rows]
    tested = [("test", 50), ("test", 100), ("test", 150)]
    assert sorted(steps) == [*tested, ("train", 100), ("train", 150)]
    assert all(row["loss"] > 0 for row in rows)
    pictures = {path.name for path in (trained / "pictures").iterdir()}
    assert pictures == {
        "curve_loss.png",
        "curve_top1.png",
        "test_confusion.png",
        "test_predictions.png",
    }
    assert (trained / "checkpoints" / "150").is_dir()


def test_another_run_starts_from_its_checkpoint_with_a_new_head(run, trained, tmp_path):
    ran = run(
        "train",
        DIGITS,
        "--config.steps=1",
        "--config.augment.degrees=0",  # quicker to compile
        "--config.augment.translate=0",
        "--config.model.num_classes=12",
        f"--config.init_from={trained}",
        "--config.init_exclude=fc3/.*",
        "--config.compilation_cache=",
        f"--workdir={tmp_path / 'run'}",
    )
    assert (ran.status, ran.stderr) == (0, "")
    assert f"8 of 10 variables from {trained}, 2 new." in ran.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["parameters"] == 61_706 + 2 * 85  # two classes more


def test_a_run_starts_from_a_checkpoint_in_the_layout_of_others(run, trained, tmp_path):
    model, image = models.create("lenet5"), np.zeros((1, 28, 28, 1))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    _, variables = train.run_variables(trained, shapes)
    weights.save("lenet5", variables, tmp_path / "lenet5.pth")
    options = ("--config.compilation_cache=", f"--workdir={tmp_path / 'run'}")
    start = f"--config.init_from={tmp_path / 'lenet5.pth'}"
    ran = run("train", DIGITS, "--config.steps=1", start, "--config.schedule.lr=1e-9", *options)
    assert (ran.status, ran.stderr) == (0, "")
    assert f"10 of 10 variables from {tmp_path / 'lenet5.pth'}, 0 new." in ran.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"]["test/top1"] > 0.9  # a step at this rate changes next to nothing


def test_weights_of_another_model_are_refused(run, tmp_path):
    path = tmp_path / "odd.npz"
    np.savez(path, conv9=np.zeros(3))
    ran = run("train", DIGITS, f"--config.init_from={path}", f"--workdir={tmp_path / 'run'}")
    assert ran.status == 2
    assert "odd.npz" in ran.stderr
    assert "conv9" in ran.stderr
    assert not (tmp_path / "run").exists()
