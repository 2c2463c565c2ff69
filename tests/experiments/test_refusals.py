"""Bad input ends a script with status 2 and a message, before anything is compiled or written."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.experiments.conftest import DIGITS


def assert_refused(ran, message):
    """Status 2, and the pattern `message` fits all that was printed."""
    assert ran.status == 2, (ran.status, ran.stdout, ran.stderr)
    assert re.fullmatch(f"{message}\n", ran.stderr), ran.stderr
    assert (ran.stdout, ran.compiled) == ("", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config=configs/classification/lenet_mnits.py"],
            "There is no config .*lenet_mnist.py.*",
        ),
        (["--config=README.md"], "There is no config file 'README.md'. Nearest: configs/.*"),
        ([f"{DIGITS}s"], "This config has no variant :smokes; it has: :smoke."),
        ([DIGITS, "--config.schedule.lrr=1"], ".* no field 'schedule.lrr'. Nearest: schedule.lr.*"),
        ([DIGITS, "--config.lr=1"], "The config has no field 'lr'. Nearest: .*schedule.lr.*"),
        ([DIGITS, "--config.steps=many"], "steps must be an integer, as 100, got 'many'."),
        ([DIGITS, "--config.steps=1.5"], "steps must be an integer, as 100, got '1.5'."),
        ([DIGITS, "--config.debug=5"], "debug must be true or false, got '5'."),
        ([DIGITS, "--config.schedule.lr=true"], "schedule.lr must be a number, .* got 'true'."),
        ([DIGITS, "--config.data.mean=0.5,x"], r"data.mean\[1\] must be a number, .* got 'x'."),
        ([DIGITS, "--config.steps"], "--config.steps: write --config.steps=VALUE."),
        ([], "--config must be given. See --help."),
        ([DIGITS, "--workdir="], "--workdir must be given. See --help."),
        ([DIGITS, "--wokdir=x"], "Unknown .*'wokdir'. Did you mean: workdir .* See --help."),
        ([DIGITS, "--processes=2", "--process=1"], ".*--processes=2 .*: expected HOST:PORT, .*"),
        ([DIGITS, "--coordinator=auto"], ".*jax could not join the processes .*"),
        ([DIGITS, "--processes=two"], "flag --processes=two: .* See --help."),
        (["here", DIGITS], "Unexpected 'here': every argument is a --flag=value. See --help."),
    ],
)
def test_train_refuses_what_is_no_config_or_flag(run, tmp_path, arguments, message):
    assert_refused(run("train", f"--workdir={tmp_path / 'run'}", *arguments), message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=classify", "task is 'classify', which is unknown. Nearest: classification."),
        ("model.name=lenet", "name: there is no model 'lenet'. Nearest: lenet5.*"),
        ("model.depth=8", "depth: no attribute of model lenet5, which has num_classes, dtype."),
        ("model.num_classes=5", "model.num_classes is 5, but the data has 10 classes. .*"),
        ("dtype=float8", "dtype is 'float8', expected one of float32, bfloat16, float16."),
        ("label_smoothing=2.0", r"label_smoothing must be in \[0, 1\], got 2.0."),
        ("optimizer.name=adm", "optimizer.name is 'adm', .* Did you mean adam.*"),
        ("optimizer.betas=0.9,0.99", "optimizer.betas is .*'sgd' has no such option: .*"),
        ("optimizer.freeze=conv9/.*", "optimizer.freeze has 'conv9/.*', which matches no .*"),
        ("optimizer.freeze=.*", "optimizer.freeze leaves nothing to train: .*"),
        ("schedule.name=cosin", "schedule.name is 'cosin', .* Did you mean cosine.*"),
        ("schedule.gamma=0.1", "schedule.gamma is 0.1, but 'cosine' has no such option: .*"),
        ("schedule.lr=-1", ".*lr must be .*-1.*"),
        ("augment.padding_mode=mirror", "config.augment: padding_mode must be one of .*"),
        ("augment.erasing=2", ".*within 0..1, got 2.*"),
        ("batch_size=0", "batch_size must be a positive multiple of .* = 2, got 0. .*"),
        ("batch_size=129", ".*got 129. The nearest is 128."),
        ("accumulate=0", "accumulate must be at least 1 .*, got 0."),
        ("steps=0", "steps must be at least 1, got 0."),
        ("seed=-1", "seed must be at least 0 .*, got -1."),
        ("seed=4294967296", r"seed must be .* below 2\*\*32, got 4294967296."),
        ("steps=2147483648", r"steps must be below 2\*\*31, got 2147483648."),
        ("best=test/top1", "best must be .*, got .*"),
        ("best=valid/top1,max", "best must be .*with one of the splits test, got .*"),
        ("data.name=digit", "data.name 'digit' is no data set. Near it: digits.*"),
        ("data.eval_splits=valid", "digits has no split 'valid'. The splits are: train, test."),
        ("data.channels=2", "data.channels must be 0 .*, 1 or 3, got 2."),
        ("data.mean=0.1,0.2,0.3", ".*mean.*"),
        ("data.class_names=cat,dog", "data.class_names are cat, dog, but digits has .*: 0, 1, .*"),
        ("data.name=folder", "data.dir must be a folder of images by class, got .*"),
        ("model.num_classes=0", "model.num_classes is 0, but the data has 10 classes. .*"),
        ("augment.crop=64", r"random_crop's size must be at most \(28, 28\).*"),
        ("augment.resized_crop=32", "The model was made for .* augment.resized_crop.*fc1.*"),
        ("remat=true", "remat is True, but lenet5 has no blocks to compute again."),
        ("views.sizes=a", "views.sizes and views.ten_crop must be pixels, got .*"),
        ("optimizer.lr_groups=(('fc1/.*','x'),)", "optimizer.lr_groups must be .*, got .*"),
        ("paper=LeCun", "paper must be .*source.*, got .'LeCun',.."),
        ("init_from=nowhere", "No checkpoint in nowhere/checkpoints; there is: none."),
    ],
)
def test_train_refuses_a_field_that_does_not_fit(run, tmp_path, override, message):
    ran = run("train", DIGITS, f"--workdir={tmp_path / 'run'}", f"--config.{override}", devices=2)
    assert_refused(ran, message)
    assert not (tmp_path / "run").exists()


def test_train_names_the_command_that_builds_a_data_set(run, tmp_path):
    ran = run(
        "train",
        "--config=configs/classification/lenet_mnist.py",
        f"--config.data.dir={tmp_path / 'tfds'}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert_refused(
        ran, r"(?s)mnist is not on disk.*python -c .*'mnist'.*--config.data.download=true"
    )
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "tfds").exists()


@pytest.mark.parametrize(
    ("limit", "status"),
    [(2**20, 2), (0, 1)],  # decoded before the run begins, and streamed
)
def test_train_names_the_broken_image_of_a_folder(run, tmp_path, limit, status):
    for name in ("cat", "dog"):
        path = tmp_path / "data" / "train" / name / "1.png"
        path.parent.mkdir(parents=True)
        Image.new("L", (8, 8)).save(path)
    path.write_bytes(path.read_bytes()[:30])
    fields = {
        "data.name": "folder",
        "data.dir": tmp_path / "data",
        "data.eval_splits": "train",
        "data.cache_dir": tmp_path / "cache",
        "data.cache_limit": limit,
        "best": ",max",
    }
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    ran = run("train", DIGITS, f"--workdir={tmp_path / 'run'}", *overrides)
    assert ran.status == status
    assert re.fullmatch(r".*train/dog/1\.png: cannot be read as an image.*\n", ran.stderr)
    assert (tmp_path / "run").exists() == (status == 1)


def test_train_refuses_a_folder_that_is_a_file(run, tmp_path):
    (tmp_path / "run").write_text("mine")
    assert_refused(
        run("train", DIGITS, f"--workdir={tmp_path / 'run'}"), ".*run cannot be written.*"
    )
    assert (tmp_path / "run").read_text() == "mine"


def test_train_refuses_the_folder_of_another_config(run, trained):
    before = (trained / "config.json").read_bytes()
    ran = run("train", DIGITS, f"--workdir={trained}", "--config.schedule.lr=0.1")
    assert_refused(ran, ".* another config: schedule.lr is 0.05 there, 0.1 here. Give the same .*")
    assert (trained / "config.json").read_bytes() == before


def test_train_refuses_to_start_from_another_model(run, trained, tmp_path):
    ran = run(
        "train",
        DIGITS,
        "--config.model.num_classes=12",
        f"--config.init_from={trained}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert_refused(ran, r".*does not fit.*fc3/bias is \[10\] there, \[12\] here.*init_exclude.*")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split=valid"], "digits has no split 'valid'. The splits are: train, test."),
        (["--step=7"], "No checkpoint of step 7 in .*; there is: .*150."),
        (["--config.model.name=lenet5_1998"], ".* is of another model .*"),
        (["--config.model.num_classes=many"], "model.num_classes must be an integer, .*'many'."),
        (["--config.batch_size=0"], "batch_size must be a positive multiple .*, got 0. .*"),
        (["--config.model.nme=x"], "nme: no attribute of model lenet5, .*"),
        (["--config.btch=1"], "The config has no field 'btch'. Nearest: batch_size.*"),
    ],
)
def test_evaluate_refuses_what_the_run_does_not_have(run, trained, arguments, message):
    assert_refused(run("evaluate", f"--workdir={trained}", *arguments), message)
    assert not (trained / "evaluation" / "valid.json").exists()


@pytest.mark.parametrize("script", ["evaluate", "predict"])
def test_a_folder_without_a_run_is_refused(run, tmp_path, script):
    more = [f"--inputs={tmp_path}", f"--output={tmp_path / 'out'}"] if script == "predict" else []
    ran = run(script, f"--workdir={tmp_path}", *more)
    assert_refused(ran, ".*config.json is not there: no run was started in this folder. .*")
    assert not (tmp_path / "out").exists()


def png_without_pixels(side):
    """A PNG of `side` x `side` pixels, of which the file holds none."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r".*image\.png: cannot be read as an image.*"),
        (b"no image", r".*image\.png: cannot be read as an image.*"),
        ("cut", r".*image\.png: cannot be read as an image.*"),
        (png_without_pixels(30_000), r".*image\.png: .*pixels.*"),
        (None, ".*in: the folder holds no image .*"),
    ],
    ids=["empty", "text", "cut short", "bomb", "no image"],
)
def test_predict_refuses_what_is_no_image(run, trained, tmp_path, content, message):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "good.png")
    if content == "cut":
        content = (tmp_path / "good.png").read_bytes()[:50]
    if content is not None:
        (folder / "image.png").write_bytes(content)
    ran = run(
        "predict",
        f"--workdir={trained}",
        f"--inputs={tmp_path / 'good.png'},{folder}",
        f"--output={tmp_path / 'out'}",
    )
    assert_refused(ran, message)
    assert not (tmp_path / "out").exists()


def test_predict_refuses_missing_files_flags_and_another_model(run, trained, tmp_path):
    image, output = f"--inputs={tmp_path / 'none.png'}", f"--output={tmp_path / 'out'}"
    assert_refused(run("predict", image), "--output must be given. See --help.")
    for given in ([], [f"--workdir={trained}", "--model=lenet5"], ["--model=lenet5"]):
        either = "Give either --workdir, or --model and --weights. See --help."
        assert_refused(run("predict", image, output, *given), either)
    absent = run("predict", f"--workdir={trained}", image, output)
    assert_refused(absent, ".*none.png: there is no such file or folder. .*")
    Image.new("L", (28, 28)).save(tmp_path / "none.png")
    other = run("predict", f"--workdir={trained}", image, output, "--config.model.name=lenet5_1998")
    assert_refused(other, ".* is of another model .*")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["{", "{}", '{"config": {"paper": ["", "", 0]}}', "[1]"])
def test_reproduce_names_a_damaged_result(run, tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    ran = run("reproduce", f"--runs={tmp_path}", f"--output={tmp_path / 'table.md'}")
    assert_refused(ran, r".*result\.json is damaged \(.*\).*")
    assert not (tmp_path / "table.md").exists()


def test_reproduce_refuses_a_folder_without_results_and_overrides(run, tmp_path):
    assert_refused(run("reproduce", f"--runs={tmp_path}"), ".*: no result.json in it or below. .*")
    assert_refused(run("reproduce", "--runs=x", "--config.seed=1"), ".*no config to override.")
