import json
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from jaxcv import train
from jaxcv.train import checkpoints, folder
from tests import xla
from tests.train import toy

CONFIG = {
    "best": ("test/square", "min"),
    "ema": 0.5,
    "optimizer__momentum": 0.9,
    "optimizer__freeze": ("bias",),
}

# TensorStore's reads of a damaged file outlive the loop that asked for them; a rate of 1e39 is inf.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def compiled():
    """A list that grows with every program that jax compiles, or finds in its cache."""
    with xla.compilations() as programs:
        yield programs


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compiled):
    """(folder, result, programs compiled when each batch was asked for and at the end) of a run."""
    workdir = tmp_path_factory.mktemp("whole")
    counts = []

    def count(number, batch):
        counts.append(len(compiled))
        return batch

    result = toy.run(workdir, toy.config(**CONFIG), on_batch=count)
    return workdir, result, counts + [len(compiled)]


def copied(workdir, tmp_path):
    return shutil.copytree(workdir, tmp_path / "run")


def rows_of(workdir):
    """The rows of metrics.jsonl but for what the clock says."""
    rows = train.read_rows(workdir / "metrics.jsonl")
    return [
        {name: value for name, value in row.items() if name != "examples_per_second"}
        for row in rows
    ]


def steps_of(workdir):
    return checkpoints.steps(workdir / "checkpoints")


def test_the_result_says_what_was_run_and_what_came_out(whole):
    workdir, result, _ = whole
    assert json.loads((workdir / "result.json").read_text()) == json.loads(json.dumps(result))
    assert result.keys() == {
        *("metrics", "best", "config", "seed", "steps", "parameters", "params_sha256"),
        *("seconds", "peak_memory", "device", "versions", "commit"),
    }
    assert (result["steps"], result["parameters"], result["seed"]) == (8, 15, 0)
    assert result["config"] == train.read_config(workdir)
    names = {"train/loss", "train/grad_norm", "test/square", "test/worst"}
    assert names <= result["metrics"].keys()
    assert result["best"] == {"step": 8, "test/square": result["metrics"]["test/square"]}
    assert result["peak_memory"]["host_bytes"] > 10**7


def test_the_parameters_digest_is_that_of_the_checkpoint(whole):
    workdir, result, _ = whole
    _, arrays, _ = train.read_checkpoint(workdir / "checkpoints")
    prefix = "variables/params/"
    params = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    assert train.digest(params) == result["params_sha256"]
    np.testing.assert_array_equal(params["bias"], np.zeros(3))  # frozen
    assert np.abs(params["kernel"]).min() > 0


def test_rows_come_at_their_steps_with_the_mean_loss_since_the_last(whole):
    workdir, _, _ = whole
    rows = rows_of(workdir)
    assert [(row["step"], row["split"]) for row in rows] == [
        *((2, "train"), (4, "train"), (4, "test"), (6, "train"), (8, "train"), (8, "test"))
    ]
    # The first two steps by hand: batch 0 on the initial kernel, batch 1 after a step of 0.1.
    batches = toy.batch(0), toy.batch(1)
    kernel = np.asarray(toy.variables(toy.task())["params"]["kernel"])
    errors = [batches[0]["x"] @ kernel - batches[0]["y"]]
    kernel = kernel - 0.1 * 2 / errors[0].size * batches[0]["x"].T @ errors[0]
    errors.append(batches[1]["x"] @ kernel - batches[1]["y"])
    np.testing.assert_allclose(rows[0]["loss"], np.mean(np.square(errors)), rtol=1e-5)
    assert rows[0]["learning_rate"] == pytest.approx(0.1)


def test_the_moving_average_is_what_is_evaluated(whole):
    workdir, result, _ = whole
    task = toy.task()
    shapes = train.shapes(task, toy.examples(np.arange(1)))
    step, averaged = train.run_variables(workdir, shapes)
    examples = toy.examples(np.arange(toy.SIZE))
    errors = (toy.MODEL.apply(averaged, examples["x"]) - examples["y"]) ** 2
    assert step == 8
    np.testing.assert_allclose(result["metrics"]["test/square"], errors.mean(), rtol=1e-6)


def test_pictures_are_in_the_folder(whole):
    workdir, _, _ = whole
    picture = Image.open(workdir / "pictures" / "test_y.png")
    assert picture.size == (3, 2)  # two examples of three outputs


def test_nothing_compiles_after_the_first_evaluation(whole):
    _, _, counts = whole
    # Batch 6 is asked for while step 5 begins: one evaluation, with a remainder, lies behind.
    assert counts[6] > counts[0]
    assert set(counts[6:]) == {counts[6]}


def test_sigterm_stops_within_a_step_and_the_same_call_goes_on_exactly(whole, compiled, tmp_path):
    workdir, result, _ = whole
    config = toy.config(**CONFIG)

    def terminate(number, batch):
        if number == 6:  # asked for just before step 5
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    before = signal.getsignal(signal.SIGTERM)
    begin = len(compiled)
    assert toy.run(tmp_path, config, on_batch=terminate) is None
    fresh = len(compiled) - begin
    assert steps_of(tmp_path)[-1] == 5  # between two rows: their sums are kept too
    assert not (tmp_path / "result.json").exists()
    assert signal.getsignal(signal.SIGTERM) == before

    begin = len(compiled)
    resumed = toy.run(tmp_path, config)
    assert len(compiled) - begin == fresh
    assert resumed["params_sha256"] == result["params_sha256"]
    assert rows_of(tmp_path) == rows_of(workdir)
    assert resumed["best"] == result["best"]


def test_a_finished_run_started_again_gives_its_result_without_a_step(whole, tmp_path):
    workdir, result, _ = whole
    asked = []

    def ask(number, batch):
        asked.append(number)
        return batch

    again = toy.run(copied(workdir, tmp_path), toy.config(**CONFIG), on_batch=ask)
    assert asked == []
    for name in ("params_sha256", "metrics", "best", "steps"):
        assert again[name] == result[name]


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ([8], "Going on from the checkpoint of step 6."),
        ([6, 8], "No checkpoint is whole: starting anew."),
    ],
)
def test_damaged_checkpoints_are_said_and_made_up_for(whole, tmp_path, capsys, damaged, said):
    workdir, result, _ = whole
    workdir = copied(workdir, tmp_path)
    assert steps_of(workdir) == [6, 8]
    for step in damaged:
        manifest = workdir / "checkpoints" / str(step) / "arrays" / "manifest.ocdbt"
        manifest.write_bytes(manifest.read_bytes()[:-7])
    again = toy.run(workdir, toy.config(**CONFIG))
    out = capsys.readouterr().out
    assert out.count("is damaged") == len(damaged)
    assert said in out
    assert again["params_sha256"] == result["params_sha256"]
    assert rows_of(workdir) == rows_of(whole[0])


def test_a_loss_that_is_nan_stops_the_run_and_leaves_the_last_good_checkpoint(tmp_path):
    def spoil(number, batch):
        return batch | {"x": batch["x"] * np.nan} if number == 5 else batch

    with pytest.raises(
        train.NotFinite, match=r"nan at step 6\. The last .* step 4, is .*init_from"
    ):
        toy.run(tmp_path, toy.config(), on_batch=spoil)
    step, arrays, _ = train.read_checkpoint(tmp_path / "checkpoints")
    assert step == 4
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_parameters_that_are_not_finite_are_never_saved(tmp_path):
    # The first loss is finite, what the step makes of the parameters is not.
    config = toy.config(schedule__lr=1e39, checkpoint_every=1, log_every=0, eval_every=0)
    with pytest.raises(train.NotFinite, match=r"after step 1\. .*No checkpoint was saved before"):
        toy.run(tmp_path, config)
    assert steps_of(tmp_path) == []


def test_a_checkpoint_that_fails_is_said_and_later_ones_are_written(tmp_path, capsys):
    in_the_way = tmp_path / "checkpoints"
    in_the_way.write_text("")

    def clear(number, batch):
        if number == 5:  # after the save of step 2, before that of step 4
            in_the_way.unlink()
        return batch

    assert toy.run(tmp_path, toy.config(), on_batch=clear)["steps"] == 8
    out = capsys.readouterr().out
    assert out.count("WAS NOT WRITTEN") == 1
    assert "THE CHECKPOINT OF STEP 2 WAS NOT WRITTEN" in out
    assert steps_of(tmp_path) == [6, 8]


def test_a_last_checkpoint_that_fails_is_an_error(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(OSError, match=r"checkpoint of step 8 could not be written.*Make room"):
        toy.run(tmp_path, toy.config(checkpoint_every=0))
    assert not (tmp_path / "result.json").exists()


def test_the_best_checkpoint_is_kept_beside_the_newest_and_nan_is_never_best(tmp_path):
    scores = iter([0.3, 0.9, np.nan, 0.5])
    task = toy.task(summarise=lambda sums, records: {"score": next(scores)})
    config = toy.config(
        steps=4, eval_every=1, checkpoint_every=1, checkpoint_keep=1, best=("test/score", "max")
    )
    result = toy.run(tmp_path, config, task=task)
    assert result["best"] == {"step": 2, "test/score": 0.9}
    assert steps_of(tmp_path) == [2, 4]


def test_a_folder_at_work_is_refused(tmp_path):
    config = toy.config()
    with (
        folder.claim(tmp_path, config),
        pytest.raises(train.FolderRefused, match="Another run is at work"),
    ):
        toy.run(tmp_path, config)


def test_a_checkpoint_of_another_model_is_refused(whole, tmp_path):
    workdir = copied(whole[0], tmp_path)
    config = toy.config(**CONFIG | {"optimizer__freeze": ()})
    (workdir / "config.json").unlink()  # as if the code had changed, not the config
    with pytest.raises(train.FolderRefused, match=r"step 8 in .* is of another .*Give another f"):
        toy.run(workdir, config)
    assert steps_of(workdir) == [6, 8]


@pytest.mark.parametrize(("steps", "traced"), [(3, "1 to 3"), (12, "8 to 12")])
def test_a_profile_is_of_late_steps_and_of_all_where_there_are_few(tmp_path, capsys, steps, traced):
    config = toy.config(steps=steps, profile=True, profile_steps=5, eval_every=0)
    toy.run(tmp_path, config)
    assert f"profile of steps {traced}: {tmp_path}/profile" in capsys.readouterr().out
    assert list(tmp_path.glob("profile/**/perfetto_trace.json.gz"))


def test_a_finished_run_keeps_its_result_when_it_is_asked_for_again(whole, tmp_path):
    workdir = copied(whole[0], tmp_path)
    path = workdir / "result.json"
    elsewhere = json.loads(path.read_text()) | {"device": "8 x another", "seconds": 1.5}
    path.write_text(json.dumps(elsewhere))
    assert toy.run(workdir, toy.config(**CONFIG)) == elsewhere
    assert json.loads(path.read_text()) == elsewhere
    path.write_text("{")
    toy.run(workdir, toy.config(**CONFIG))
    assert json.loads(path.read_text())["params_sha256"] == elsewhere["params_sha256"]
