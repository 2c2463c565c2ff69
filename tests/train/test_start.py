import jax
import numpy as np
import pytest

from jaxcv import train
from jaxcv.train import folder, start
from jaxcv.train import state as states
from jaxcv.train.checkpoints import Checkpoints
from tests.train import toy

TASK = toy.task()
EXAMPLE = toy.examples(np.arange(1))
THERE = {"params": {"kernel": np.full((4, 3), 7, np.float32), "bias": np.full(3, 8, np.float32)}}


def save(workdir, variables=THERE, ema=None):
    store = Checkpoints(workdir / "checkpoints", keep=1)
    store.save(5, states.named({"variables": variables, "ema": ema or {}}), {"step": 5})
    assert store.wait()
    store.close()
    return workdir


def initial(**options):
    said = []
    params = train.initial_variables(TASK, EXAMPLE, seed=1, say=said.append, **options)["params"]
    return params, said


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The folder of a run whose newest checkpoint holds THERE."""
    return save(tmp_path_factory.mktemp("other"))


def test_new_variables_come_from_the_seed():
    params, said = initial()
    np.testing.assert_array_equal(
        params["kernel"], TASK.init(jax.random.key(1), EXAMPLE)["params"]["kernel"]
    )
    assert said == []


def test_a_run_starts_from_another_ones_variables(other):
    params, said = initial(init_from=str(other))
    assert params["kernel"][0, 0] == 7
    assert params["bias"][0] == 8
    assert said == [f"2 of 2 variables from {other}, 0 new."]


@pytest.mark.parametrize("patterns", [{"include": ("ker.*",)}, {"exclude": (".*as",)}])
def test_patterns_say_which_are_taken(other, patterns):
    params, said = initial(init_from=str(other), **patterns)
    assert params["kernel"][0, 0] == 7
    assert params["bias"][0] == 0  # new
    assert said == [f"1 of 2 variables from {other}, 1 new."]


def test_a_pattern_must_match_a_whole_path(other):
    with pytest.raises(ValueError, match=r"'kern' matches none of .*bias, kernel"):
        initial(init_from=str(other), exclude=("kern",))


def test_a_new_head_of_another_size_must_be_left_out(tmp_path):
    save(tmp_path, {"params": THERE["params"] | {"kernel": np.zeros((4, 10), np.float32)}})
    with pytest.raises(
        ValueError, match=r"kernel is \[4, 10\] there, \[4, 3\] here. Leave these new with init_ex"
    ):
        initial(init_from=str(tmp_path))
    params, _ = initial(init_from=str(tmp_path), exclude=("kernel",))
    assert params["kernel"].shape == (4, 3)
    assert params["bias"][0] == 8


def test_a_variable_that_is_not_there_must_be_left_out(tmp_path):
    save(tmp_path, {"params": {"bias": THERE["params"]["bias"]}})
    with pytest.raises(ValueError, match=r"kernel is not there. Leave these new"):
        initial(init_from=str(tmp_path))


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"No checkpoint in {tmp_path}"):
        initial(init_from=str(tmp_path))


def test_a_run_is_evaluated_by_its_moving_average_where_it_has_one(tmp_path, other):
    shapes = train.shapes(TASK, EXAMPLE)
    averages = jax.tree.map(lambda leaf: leaf + 1, THERE)
    step, variables = train.run_variables(save(tmp_path, ema=averages), shapes)
    assert (step, variables["params"]["kernel"][0, 0]) == (5, 8)
    assert train.run_variables(other, shapes)[1]["params"]["kernel"][0, 0] == 7


def test_a_checkpoint_of_another_model_or_step_or_a_damaged_one_is_an_error(tmp_path):
    shapes = train.shapes(TASK, EXAMPLE)
    save(tmp_path, {"params": {"bias": THERE["params"]["bias"]}})
    with pytest.raises(ValueError, match=r"step 5 in .* another model .*params/kernel is missing"):
        train.run_variables(tmp_path, shapes)
    with pytest.raises(FileNotFoundError, match=r"No checkpoint of step 4 .*there is: 5"):
        train.run_variables(tmp_path, shapes, step=4)
    (tmp_path / "checkpoints" / "5" / "metrics" / "metrics").unlink()
    with pytest.raises(ValueError, match=r"step 5 in .* is damaged: .*not found"):
        train.run_variables(tmp_path, shapes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"checkpoint_keep": 0}, "checkpoint_keep must be at least 1"),
        ({"eval_every": -1}, "eval_every must be at least 0"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"best": ("train/loss", "min")}, "best must be .* one of the splits test, got"),
        ({"best": ("test/square", "least")}, "best must be"),
        ({"best": ("test/squares", "min")}, "'squares', which the task does not.*Nearest: square"),
        ({"optimizer__name": "sdg"}, "optimizer.name is 'sdg'"),
        ({"schedule__name": "cosin"}, "schedule.name is 'cosin'"),
        ({"optimizer__freeze": ("kern",)}, "kern"),
    ],
)
def test_a_field_that_the_loop_would_trip_over_is_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        train.check(TASK, toy.config(**fields), tmp_path, EXAMPLE)


def test_a_good_config_passes_and_nothing_is_written(tmp_path):
    config = toy.config(best=("test/square", "min"))
    shapes = train.check(TASK, config, tmp_path / "run", EXAMPLE)
    assert shapes["params"]["kernel"].shape == (4, 3)
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_of_several_processes_asks_for_the_folder(tmp_path, monkeypatch):
    # It may hold the folder's lock already when the others get there.
    config = toy.config()
    with folder.claim(tmp_path, config):
        with pytest.raises(train.FolderRefused, match="Another run is at work"):
            start.check(TASK, config, tmp_path, EXAMPLE)
        monkeypatch.setattr(jax, "process_index", lambda: 1)
        assert set(start.check(TASK, config, tmp_path, EXAMPLE)) == {"params"}
