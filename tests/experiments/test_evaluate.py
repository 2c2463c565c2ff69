import json

import pytest

from experiments import parts
from jaxcv import weights
from tests.experiments.test_refusals import assert_refused


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


@pytest.fixture(scope="module")
def network(trained, tmp_path_factory):
    """The flags that name the trained network by a file of its weights in place of its run."""
    config = parts.open_run(trained, {})
    example = parts.open_data(config).example
    variables = parts.trained_task(config, trained, example, None)[2]
    file = tmp_path_factory.mktemp("network") / "lenet5.safetensors"
    weights.save("lenet5", variables, file)
    return (
        "--model=lenet5",
        f"--weights={file}",
        "--config.data.name=digits",
        f"--config.data.mean={config.data.mean[0]}",
        f"--config.data.std={config.data.std[0]}",
        "--config.compilation_cache=",
    )


def test_a_network_and_its_file_reach_what_their_run_reached(run, trained, network, tmp_path):
    ran = run("evaluate", *network, f"--output={tmp_path / 'out'}")
    assert (ran.status, ran.stderr) == (0, "")
    content = json.loads((tmp_path / "out" / "test.json").read_text())
    result = json.loads((trained / "result.json").read_text())
    assert content["metrics"]["top1"] == result["metrics"]["test/top1"]
    assert (content["model"], content["metrics"]["count"]) == ("lenet5", 360)
    assert f"--weights={content['weights']}" in network
    assert (tmp_path / "out" / "test_confusion.png").exists()


def test_a_network_and_its_file_judge_several_views(run, network, tmp_path):
    views = ("--config.views.sizes=32,36", "--config.views.ten_crop=28", "--config.pictures=0")
    ran = run("evaluate", *network, *views, f"--output={tmp_path / 'out'}")
    assert (ran.status, ran.stderr) == (0, "")
    content = json.loads((tmp_path / "out" / "test.json").read_text())
    assert content["metrics"]["top1"] > 0.5  # half of the crops are mirrored digits


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--model needs --config.data.name and --output as well. See --help."),
        (("--output=out", "--config.data.name="), "--model needs --config.data.name .*"),
        (
            ("--output=out", "--config.model.num_classes=12"),
            "lenet5 tells 12 classes apart, digits has 10. Name the 12 with .*data.class_names.",
        ),
        (("--output=out", "--split=valid"), "digits has no split 'valid'. .*"),
    ],
)
def test_a_network_and_its_file_are_refused_what_does_not_fit(run, network, arguments, message):
    assert_refused(run("evaluate", *network, *arguments), message)


def test_either_a_run_or_a_network_is_evaluated(run, trained):
    for given in ([], [f"--workdir={trained}", "--model=lenet5"], ["--model=lenet5"]):
        either = "Give either --workdir, or --model and --weights. See --help."
        assert_refused(run("evaluate", "--output=out", *given), either)
