import json
import os

import pytest

from jaxcv.train import folder
from tests.train import toy


def test_a_run_claims_a_new_folder_and_leaves_its_config(tmp_path):
    with folder.claim(tmp_path / "a" / "b", toy.config(seed=3)) as workdir:
        assert folder.read_config(workdir)["seed"] == 3


def test_a_second_run_in_the_folder_is_refused_until_the_first_ends(tmp_path):
    config = toy.config()
    with folder.claim(tmp_path, config):
        with pytest.raises(folder.FolderRefused, match=f"Another run is at work in {tmp_path}"):
            folder.check(tmp_path, config)
        with (
            pytest.raises(folder.FolderRefused, match="Another run is at work"),
            folder.claim(tmp_path, config),
        ):
            pass
    with folder.claim(tmp_path, config):
        pass


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(folder.FolderRefused, match=r"cannot be written.*Give another one"):
            folder.check(workdir, toy.config())
        with (
            pytest.raises(folder.FolderRefused, match=r"cannot be written.*Give another one"),
            folder.claim(workdir, toy.config()),
        ):
            pass


def test_checking_writes_nothing(tmp_path):
    folder.check(tmp_path / "new" / "run", toy.config())
    folder.check(tmp_path, toy.config())
    assert os.listdir(tmp_path) == []


def test_the_folder_of_another_config_is_refused_with_the_fields_that_differ(tmp_path):
    with folder.claim(tmp_path, toy.config()):
        pass
    other = toy.config(steps=9, schedule__lr=0.5)
    message = r"schedule.lr is 0.1 there, 0.5 here; steps is 8 there, 9 here\. Give the same"
    with pytest.raises(folder.FolderRefused, match=message):
        folder.check(tmp_path, other)
    with pytest.raises(folder.FolderRefused, match=message), folder.claim(tmp_path, other):
        pass
    assert folder.read_config(tmp_path)["steps"] == 8


def test_fields_that_change_no_result_may_differ(tmp_path):
    with folder.claim(tmp_path, toy.config()):
        pass
    folder.check(
        tmp_path,
        toy.config(debug=True, profile=True, data__dir="/elsewhere", checkpoint_keep=7),
    )


def test_free_fields_are_fields():
    flat = folder._flat(folder.plain(toy.config()))
    assert set(folder.FREE_FIELDS) <= flat.keys()


def test_a_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(folder.FolderRefused, match=r"config.json is damaged.*Give another folder"):
        folder.check(tmp_path, toy.config())


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run was started in this folder"):
        folder.read_config(tmp_path)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "result.json"
    folder.write_whole(path, "old")
    folder.write_whole(path, json.dumps({"new": 1}))
    assert json.loads(path.read_text()) == {"new": 1}
    assert os.listdir(path.parent) == ["result.json"]
