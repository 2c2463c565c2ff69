import subprocess
import sys

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

from jaxcv import data
from jaxcv.data import creation
from tests import datasets


def config(tmp_path, **changes):
    """A run on the digits with fields changed; data_x is data.x, augment_x is augment.x."""
    base = ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 6,
            "batch_size": 64,
            "accumulate": 1,
            "augment": {"mixup": 0.0, "cutmix": 0.0},
            "data": {
                "name": "digits",
                "dir": "",
                "download": False,
                "train_split": "train",
                "eval_splits": ("test",),
                "classes": (),
                "class_names": (),
                "labels_per_class": 0,
                "image_size": 0,
                "channels": 0,
                "cache_dir": str(tmp_path / "cache"),
                "cache_limit": 2**31,
                "workers": 0,
                "prefetch": 4,
            },
        }
    )
    for section in ("data", "augment"):
        changes = {k.replace(f"{section}_", f"{section}."): v for k, v in changes.items()}
    base.update_from_flattened_dict(changes)
    return base


def test_a_run_on_the_digits(tmp_path):
    made = data.create(config(tmp_path, data_image_size=16, data_channels=3))
    batches = list(made.train(0))
    assert len(batches) == 6
    assert {key: (a.shape, a.dtype.name) for key, a in batches[0].items()} == {
        "image": ((64, 16, 16, 3), "uint8"),
        "label": ((64,), "int32"),
        "id": ((64,), "int32"),
        "weight": ((64,), "float32"),
    }
    for key, array in made.example.items():
        assert (array.shape[1:], array.dtype) == (batches[0][key].shape[1:], batches[0][key].dtype)
        assert len(array) == 1
    np.testing.assert_array_equal(next(made.train(4))["id"], batches[4]["id"])
    read = made.sources["train"].read(batches[2]["id"])
    np.testing.assert_array_equal(read["image"], batches[2]["image"])


def test_evaluation_holds_every_example_once(tmp_path):
    made = data.create(config(tmp_path))
    assert list(made.evaluation) == ["test"]
    batches = list(made.evaluation["test"]())
    assert [len(batch["id"]) for batch in batches] == [64] * 6  # 360 examples
    weight = np.concatenate([batch["weight"] for batch in batches])
    ids = np.concatenate([batch["id"] for batch in batches])
    assert ids[weight == 1].tolist() == list(range(360))


def test_a_run_on_some_classes_with_few_labels_is_evaluated_on_all_of_them(tmp_path):
    fields = {
        "data_classes": ("7", "5"),
        "data_labels_per_class": 4,
        "data_eval_splits": ("train",),
    }
    made = data.create(config(tmp_path, **fields, batch_size=8))
    batch = next(made.train(0))  # an epoch
    assert sorted(batch["label"]) == [0] * 4 + [1] * 4
    assert made.sources["train"].class_names == ("7", "5")
    seen = np.concatenate([b["label"][b["weight"] > 0] for b in made.evaluation["train"]()])
    everything = data.open_split(config(tmp_path).data, "train").read(np.arange(1437))["label"]
    assert np.bincount(seen).tolist() == [(everything == 7).sum(), (everything == 5).sum()]


def test_a_folder_is_decoded_once_where_it_fits_and_streamed_where_not(tmp_path):
    for number in range(4):
        path = tmp_path / f"pets/train/class{number % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 5), number * 10).save(path)
    options = {
        "data_name": "folder",
        "data_dir": str(tmp_path / "pets"),
        "data_image_size": 4,
        "data_eval_splits": ("train",),
        "batch_size": 8,
    }
    cached = data.create(config(tmp_path, **options))
    streamed = data.create(config(tmp_path, **options, data_cache_limit=0))
    assert cached.sources["train"].in_memory
    assert not streamed.sources["train"].in_memory
    for one, other in zip(cached.train(0), streamed.train(0)):
        np.testing.assert_array_equal(one["image"], other["image"])
    batch = next(streamed.evaluation["train"]())
    np.testing.assert_array_equal(batch["image"][:4, 0, 0, 0], [0, 20, 10, 30])
    np.testing.assert_array_equal(batch["weight"], [1, 1, 1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, r"batch_size must be .* got 0\. The nearest is"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"seed": -1}, "seed must be at least 0 .*, got -1"),
        ({"data_channels": 4}, r"data\.channels must be 0 .* 1 or 3, got 4"),
        ({"data_image_size": -1}, r"data\.image_size must be 0 .*, got -1"),
        ({"data_workers": -1}, r"data\.workers must be 0 .*, got -1"),
        (
            {"data_labels_per_class": -1},
            r"data\.labels_per_class must be 0 \(all\) or more, got -1",
        ),
        ({"data_prefetch": 0}, r"data\.prefetch must be at least 1, got 0"),
        ({"data_train_split": "trian"}, "digits has no split 'trian'"),
        ({"data_name": "digit_scene"}, r"'digit_scene' is no data set\. Near it: digit_scenes"),
    ],
)
def test_bad_fields_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        data.create(config(tmp_path, **changes))


def test_a_batch_that_devices_cannot_share_names_the_nearest_that_they_can():
    with pytest.raises(
        ValueError, match=r"devices x accumulate = 4 x 3 = 12, got 100\. The nearest is 96"
    ):
        creation.check_batch_size(100, devices=4, accumulate=3)
    creation.check_batch_size(96, devices=4, accumulate=3)


def test_mixup_wants_pairs_that_devices_need_not_tear_apart(tmp_path):
    devices = jax.device_count()
    with pytest.raises(ValueError, match=r"x 2 \(the pairs of mixup and cutmix\)"):
        data.create(config(tmp_path, batch_size=devices, augment_mixup=0.2))
    assert data.create(config(tmp_path, batch_size=2 * devices, augment_mixup=0.2))


def test_the_batch_is_checked_against_this_machine(tmp_path):
    if jax.device_count() == 1:
        pytest.skip("one device shares every batch")
    with pytest.raises(ValueError, match="batch_size must be a positive multiple"):
        data.create(config(tmp_path, batch_size=jax.device_count() + 1))


def test_tfds_is_read_without_tensorflow_and_importing_is_quick(tmp_path):
    program = (
        "import sys; from jaxcv import data; heavy = ['jax', 'grain', 'PIL', 'sklearn',"
        " 'tensorflow_datasets'];"
        " assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules);"
        f" fields = {config(tmp_path).to_dict()!r}; import ml_collections;"
        " config = ml_collections.ConfigDict(fields);"
        f" config.data.update(name='mnist', dir={str(datasets.folder('tfds'))!r},"
        " train_split='test[:100]', eval_splits=('test[100:200]',));"
        " made = data.create(config); next(made.train(0));"
        " assert not {'tensorflow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
