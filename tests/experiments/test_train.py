import json

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
