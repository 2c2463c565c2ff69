import pytest

from experiments import load_config
from experiments.config import from_plain, override
from jaxcv.train.folder import plain

DIGITS = "configs/classification/lenet_digits.py"


def test_the_path_counts_from_the_repository_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(DIGITS).model.name == "lenet5"


def test_a_file_of_the_users_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from configs import base\n"
        "def get_config(variant=''):\n"
        "    config = base.get_config(task='classification')\n"
        "    config.model.name = variant\n"
        "    return config.lock()\n"
    )
    assert load_config("mine.py:lenet5").model.name == "lenet5"


def test_fields_are_replaced_by_dicts_and_dotted_names():
    config = load_config(
        DIGITS, steps=7, schedule={"lr": 0.5}, **{"data.mean": (0.2,), "model.dtype": "float16"}
    )
    assert (config.steps, config.schedule.lr, config.data.mean) == (7, 0.5, (0.2,))
    assert config.schedule.name == "cosine"  # its neighbours stay
    assert config.model.dtype == "float16"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("steps", "7", 7),
        ("schedule.lr", "1", 1.0),
        ("schedule.lr", "1e-3", 0.001),
        ("debug", "True", True),
        ("data.name", "7", "7"),
        ("data.class_names", "cat,dog", ("cat", "dog")),
        ("data.class_names", "0,1", ("0", "1")),
        ("optimizer.freeze", "(conv1|fc1)/.*", ("(conv1|fc1)/.*",)),
        ("data.eval_splits", "train,test", ("train", "test")),
        ("data.eval_splits", "", ()),
        ("data.mean", "0.5", (0.5,)),
        ("data.mean", "0,0.5,1", (0.0, 0.5, 1.0)),
        ("paper", "Somebody,test/top1,0.9", ("Somebody", "test/top1", 0.9)),
        ("data.mean", "(0.1, 0.2)", (0.1, 0.2)),
        ("schedule.milestones", "100,200", (100, 200)),
        ("schedule.milestones", "none", None),
        ("optimizer.lr_groups", "(('fc3/.*', 10.0),)", (("fc3/.*", 10.0),)),
        ("optimizer.momentum", "none", None),
        ("model.num_classes", "12", 12),
        ("best", "test/loss,min", ("test/loss", "min")),
        ("optimizer.nesterov", "true", True),
    ],
)
def test_text_is_read_as_the_type_of_its_field(field, text, value):
    config = load_config(DIGITS, **{field: text})
    for name in field.split("."):
        config = config[name]
    assert (config, type(config)) == (value, type(value))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"steps": 1.5}, "steps must be an integer, as 100, got '1.5'"),
        ({"steps": None}, "steps must be an integer"),
        ({"steps": True}, "steps must be an integer"),
        ({"schedule": {"lr": "fast"}}, "schedule.lr must be a number, as 0.1, got 'fast'"),
        ({"data": {"name": 5}}, "data.name must be a string, got '5'"),
        ({"data.mean": "0.5,x"}, r"data.mean\[1\] must be a number, as 0.1, got 'x'"),
        ({"data.eval_splits": ("test", 1)}, r"data.eval_splits\[1\] must be a string, got '1'"),
        ({"stepz": 5}, "no field 'stepz'. Nearest: steps"),
        ({"momentum": 0.9}, "no field 'momentum'. Nearest: optimizer.momentum"),
        ({"data": 5}, "no field 'data'. Nearest: data"),
    ],
)
def test_a_wrong_field_or_type_is_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        load_config(DIGITS, **overrides)


def test_a_file_that_is_no_config_is_named(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(ValueError, match=r"empty.py is no config file: it has no get_config"):
        load_config(path)


def test_the_command_says_how_to_get_the_same_config():
    config = load_config(f"{DIGITS}:smoke", seed=3, **{"optimizer.freeze": ("conv1/.*", "fc1/.*")})
    assert config.command == (
        f"--config={DIGITS}:smoke --config.seed=3"
        """ '--config.optimizer.freeze=('"'"'conv1/.*'"'"', '"'"'fc1/.*'"'"')'"""
    )


def test_the_config_is_locked():
    with pytest.raises(AttributeError):
        load_config(DIGITS).step = 5


def test_a_config_survives_its_json_with_types():
    config = load_config(
        DIGITS, **{"optimizer.lr_groups": (("fc3/.*", 10.0),), "model.dtype": "float16"}
    )
    again = from_plain(plain(config))
    assert again.to_dict() == config.to_dict()
    with pytest.raises(ValueError, match=r"model\.num_classes must be an integer"):
        override(again, {"model.num_classes": "many"})


def test_a_config_of_another_version_is_named():
    tree = plain(load_config(DIGITS))
    with pytest.raises(ValueError, match=r"no field 'schedule\.speed'"):
        from_plain(tree | {"schedule": {"speed": 1}})
