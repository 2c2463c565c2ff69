import numpy as np
import pytest

from jaxcv.data import digits


def test_every_digit_is_in_one_split_and_classes_are_even():
    images, labels = zip(*(digits.arrays(split) for split in digits.SPLITS))
    assert [len(part) for part in images] == [1437, 360]
    assert np.concatenate(images).dtype == np.uint8
    # 1,797 scans, of which some are equal: as many different ones as scikit-learn's.
    from sklearn import datasets

    want = {scan.tobytes() for scan in np.rint(datasets.load_digits().images * 255 / 16)}
    got = {scan.astype(float).tobytes() for scan in np.concatenate(images)}
    assert got == want
    np.testing.assert_array_equal(np.bincount(labels[1]), [36, 36, 36, 36, 37, 36, 36, 36, 35, 36])


def test_the_split_is_the_same_for_everyone():
    _, labels = digits.arrays("test")
    assert labels[:10].tolist() == [0, 2, 4, 7, 1, 6, 8, 9, 5, 3]
    images, _ = digits.arrays("train")
    assert images[0][0].tolist() == [0, 0, 0, 191, 207, 80, 0, 0]  # ink 0 0 0 12 13 5 0 0


def test_a_source_is_resized_and_repeated():
    source = digits.source("train", image_size=28, channels=3)
    batch = source.read(np.array([5, 1]))
    assert batch["image"].shape == (2, 28, 28, 3)
    np.testing.assert_array_equal(batch["image"][..., 0], batch["image"][..., 2])
    assert batch["label"].dtype == np.int32
    assert source.example_name(5) == "digits/train/5"
    assert digits.source("test").read(np.arange(2))["image"].shape == (2, 8, 8, 1)


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"digits has no split 'tset'.*train, test"):
        digits.source("tset")
