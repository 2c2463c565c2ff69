import cloudpickle
import numpy as np
import pytest
from PIL import Image

from jaxcv.data import folder


def write(path, value, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


@pytest.fixture
def pets(tmp_path):
    write(tmp_path / "train/dog/1.png", 30)
    write(tmp_path / "train/cat/2.png", 20)
    write(tmp_path / "train/cat/1.jpg", 10)
    write(tmp_path / "test/dog/7.png", 70)
    (tmp_path / "train/cat/notes.txt").touch()
    return tmp_path


def test_a_folder_is_read_by_class_and_name(pets):
    source = cloudpickle.loads(cloudpickle.dumps(folder.source(pets, "train", image_size=2)))
    assert (source.name, source.split, source.size) == ("folder", "train", 3)
    assert source.class_names == ("cat", "dog")
    assert not source.in_memory
    batch = source.read(np.array([2, 0]))
    np.testing.assert_array_equal(batch["image"][:, 0, 0], [[30] * 3, [10] * 3])
    np.testing.assert_array_equal(batch["label"], [1, 0])
    assert source.example_name(1) == str(pets / "train/cat/2.png")


def test_labels_agree_between_splits_though_a_class_is_absent(pets):
    source = folder.source(pets, "test", image_size=2, channels=1)
    batch = source.read(np.array([0]))
    assert batch["label"].tolist() == [1]
    assert batch["image"].shape == (1, 2, 2, 1)


def test_a_folder_of_classes_is_one_split(pets):
    source = folder.source(pets / "train", "all", image_size=2)
    assert (source.size, source.class_names) == (3, ("cat", "dog"))


def test_an_unreadable_image_is_named(pets):
    (pets / "train/cat/2.png").write_bytes(b"")
    source = folder.source(pets, "train", image_size=2)
    with pytest.raises(ValueError, match=r"train/cat/2\.png: cannot be read"):
        source.read(np.arange(3))


def test_errors_at_the_door(pets, tmp_path):
    with pytest.raises(ValueError, match=r"data\.image_size must be set"):
        folder.source(pets, "train", image_size=0)
    with pytest.raises(ValueError, match=r"no split 'val'.*test, train"):
        folder.source(pets, "val", image_size=2)
    with pytest.raises(ValueError, match=r"data\.dir must be .*got .*nowhere.*data\.dir=DIR"):
        folder.source(tmp_path / "nowhere", "train", image_size=2)
    (pets / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no class folders.*empty/CLASS"):
        folder.source(pets / "empty", "all", image_size=2)
    (pets / "train/fish").mkdir()
    with pytest.raises(ValueError, match=r"train/fish: the class folder holds no image"):
        folder.source(pets, "train", image_size=2)
