import io
import re
import shutil

import cloudpickle
import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from jaxcv.data import tfds
from tests import datasets


class Ramps(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Five grey images of different widths, which need neither network nor TensorFlow."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = tensorflow_datasets.features.FeaturesDict(
            {
                "image": tensorflow_datasets.features.Image(shape=(None, None, 1)),
                "label": tensorflow_datasets.features.ClassLabel(names=["even", "odd"]),
            }
        )
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features, disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(5):
            file = io.BytesIO()
            Image.new("L", (i + 4, 4), i * 10).save(file, "PNG")
            file.seek(0)
            yield i, {"image": file, "label": i % 2}


class Pairs(Ramps):
    """A set without labels."""

    def _info(self):
        number = tensorflow_datasets.features.Scalar(np.int64)
        features = tensorflow_datasets.features.FeaturesDict({"left": number, "right": number})
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=features)

    def _generate_examples(self):
        yield 0, {"left": 1, "right": 2}


class Unreachable(Ramps):
    """A set whose files are out of reach."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to host")


@pytest.fixture(scope="module")
def ramps(tmp_path_factory):
    """Folder in which the option `download` has built the set `ramps`."""
    directory = str(tmp_path_factory.mktemp("tfds"))
    tfds.source("ramps", "train", directory=directory, download=True, image_size=4)
    return directory


def test_a_set_that_was_built_is_read(ramps):
    source = tfds.source("ramps", "train", directory=ramps, image_size=4, channels=3)
    source = cloudpickle.loads(cloudpickle.dumps(source))
    assert (source.name, source.split, source.size) == ("ramps", "train", 5)
    assert source.class_names == ("even", "odd")
    assert not source.in_memory
    batch = source.read(np.array([3, 0]))
    np.testing.assert_array_equal(batch["image"], [np.full((4, 4, 3), 30), np.zeros((4, 4, 3))])
    np.testing.assert_array_equal(batch["label"], [1, 0])
    assert source.example_name(3) == "ramps/train[3]"
    (path,) = source.files()
    assert path.endswith("ramps-train.array_record-00000-of-00001")


def test_parts_of_a_split_are_splits(ramps):
    source = tfds.source("ramps", "train[60%:]", directory=ramps, image_size=4)
    assert source.read(np.arange(source.size))["image"][:, 0, 0, 0].tolist() == [30, 40]


def test_images_of_different_sizes_need_a_size(ramps):
    with pytest.raises(ValueError, match=r"data\.image_size must be set for ramps"):
        tfds.source("ramps", "train", directory=ramps)


def test_a_set_without_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"features image and label.*pairs has left, right"):
        tfds.source("pairs", "train", directory=str(tmp_path), download=True)


@pytest.mark.parametrize("split", ["tain", "train[:9x%]", "train[:70]", "train[3:3]"])
def test_a_wrong_split_is_named_with_those_there_are(ramps, split):
    with pytest.raises(
        ValueError, match=rf"ramps has no split '{re.escape(split)}'.*: train \(5\)"
    ):
        tfds.source("ramps", split, directory=ramps, image_size=4)


def test_a_set_that_is_not_on_disk_answers_with_the_command_that_builds_it(tmp_path):
    with pytest.raises(ValueError, match="cifar100 is not on disk") as caught:
        tfds.source("cifar100", "train", directory=str(tmp_path))
    message = str(caught.value)
    assert (
        "python -c \"import tensorflow_datasets as tfds; tfds.builder('cifar100',"
        f" data_dir='{tmp_path}', file_format='array_record').download_and_prepare()\""
    ) in message
    assert "pip install tensorflow" in message
    assert "--config.data.download=true" in message


def test_a_set_in_another_format_says_so(ramps, tmp_path):
    shutil.copytree(ramps, tmp_path, dirs_exist_ok=True)
    info = tmp_path / "ramps/1.0.0/dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(
        ValueError, match=r"ramps is on disk as tfrecord .*ramps/1\.0\.0.*data\.dir"
    ):
        tfds.source("ramps", "train", directory=str(tmp_path), download=True)


def test_a_set_with_files_fetched_by_hand_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"fetch files by hand.*ILSVRC2012_img_train\.tar"):
        tfds.source("imagenet2012", "train", directory=str(tmp_path))


def test_a_build_that_fails_says_why_and_how(tmp_path):
    with pytest.raises(ValueError, match="unreachable could not be built") as caught:
        tfds.source("unreachable", "train", directory=str(tmp_path), download=True)
    assert "ConnectionError: no route to host" in str(caught.value)
    assert "download_and_prepare()" in str(caught.value)


def test_unknown_names_list_near_ones(tmp_path):
    with pytest.raises(ValueError, match=r"data\.name 'mnistt' is no data set\. Near it: .*mnist"):
        tfds.source("mnistt", "train", directory=str(tmp_path))
    with pytest.raises(ValueError, match=r"'digit' is no data set\. Near it: digits"):
        tfds.source("digit", "train", directory=str(tmp_path))
    for name in ("../mnist", "mnist:9.9.9"):
        with pytest.raises(ValueError, match=rf"data\.name '{name}' is not understood by TFDS"):
            tfds.source(name, "train", directory=str(tmp_path))


def test_mnist_is_the_published_one():
    source = tfds.source("mnist", "train", directory=str(datasets.folder("tfds")))
    batch = source.read(np.arange(5))
    assert source.size == 60_000
    assert batch["image"].shape == (5, 28, 28, 1)
    assert batch["label"].tolist() == [5, 0, 4, 1, 9]
    assert batch["image"][0].sum() == 27_525  # of the first digit as everyone has it


def test_cifar10_has_names():
    source = tfds.source("cifar10", "test", directory=str(datasets.folder("tfds")))
    assert source.read(np.arange(5))["label"].tolist() == [3, 8, 8, 0, 6]
    assert source.class_names[3] == "cat"
    assert source.example_name(3) == "test_00003"


def test_an_unreadable_record_is_named():
    source = tfds.source("cifar10", "test", directory=str(datasets.folder("tfds")))
    with pytest.raises(ValueError, match=r"test_00007: .*cannot be read as an image"):
        source.read._decode(7, {"image": b"damaged"})


def test_opening_and_reading_say_nothing(ramps, caplog):
    source = tfds.source("cifar10", "test", directory=str(datasets.folder("tfds")))
    source.read(np.arange(2))
    assert caplog.text == ""
