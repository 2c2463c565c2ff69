import json

import pytest


def evaluated(run, trained, *arguments, split="test"):
    """What evaluate writes, and what it prints."""
    ran = run(
        "evaluate",
        f"--workdir={trained}",
        f"--split={split}",
        "--config.compilation_cache=",
        *arguments,
    )
    assert (ran.status, ran.stderr) == (0, "")
    return json.loads((trained / "evaluation" / f"{split}.json").read_text()), ran.stdout


@pytest.mark.parametrize("batch_size", [7, 64, 360])  # 360 examples: remainders of 3, 40 and none
def test_metrics_are_those_of_the_run_for_any_batch_size(run, trained, batch_size):
    content, stdout = evaluated(
        run, trained, f"--config.batch_size={batch_size}", "--config.pictures=0"
    )
    result = json.loads((trained / "result.json").read_text())
    want = {
        name.removeprefix("test/"): v for name, v in result["metrics"].items() if "test/" in name
    }
    assert (content["step"], content["split"]) == (150, "test")
    assert content["metrics"].pop("loss") == pytest.approx(want.pop("loss"), rel=1e-5)
    assert content["metrics"] == want  # counts are exact
    assert f"{want['top1']:.6g}" in stdout


def test_another_split_and_checkpoint_and_its_pictures(run, trained):
    steps = sorted(int(path.name) for path in (trained / "checkpoints").iterdir())
    content, _ = evaluated(
        run, trained, f"--step={steps[0]}", "--config.batch_size=1500", split="train"
    )
    assert (content["step"], content["metrics"]["count"]) == (steps[0], 1437)
    pictures = {path.name for path in (trained / "evaluation").glob("train_*")}
    assert pictures == {"train_predictions.png", "train_confusion.png"}
