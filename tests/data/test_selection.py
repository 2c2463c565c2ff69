import dataclasses

import numpy as np
import pytest

from jaxcv.data import Source, selection
from jaxcv.data.source import reader

LABEL = np.array([0, 2, 1, 2, 0, 1, 2, 2], np.int32)
SOURCE = Source(
    name="letters",
    split="train",
    size=8,
    read=reader({"image": 10 * np.arange(8, dtype=np.uint8), "label": LABEL}),
    class_names=("a", "b", "c"),
    in_memory=True,
    example_name="letter {}".format,
)


def test_some_classes_are_numbered_anew():
    part = selection.of_classes(SOURCE, ("c", "a"))
    assert (part.size, part.class_names) == (6, ("c", "a"))
    got = part.read(np.arange(6))
    np.testing.assert_array_equal(got["image"], [0, 10, 30, 40, 60, 70])
    np.testing.assert_array_equal(got["label"], [1, 0, 0, 1, 0, 0])
    assert got["label"].dtype == np.int32
    assert part.example_name(2) == "letter 3"


def test_labels_go_by_the_names_that_are_given():
    wider = selection.named(SOURCE, ("d", "c", "b", "a"))
    assert wider.class_names == ("d", "c", "b", "a")
    assert wider.read(np.arange(8))["label"].tolist() == [3 - label for label in LABEL]
    renamed = selection.named(SOURCE, ("x", "y", "z"))
    assert renamed.class_names == ("x", "y", "z")
    assert renamed.read(np.arange(8))["label"].tolist() == LABEL.tolist()
    assert selection.named(SOURCE, ("a", "b", "c")) == SOURCE


def test_few_of_each_follow_the_seed_and_more_contain_them():
    def images(count, seed):
        part = selection.few_of_each(SOURCE, count, seed=seed)
        got = part.read(np.arange(part.size))
        assert np.bincount(got["label"]).tolist() == [count] * 3
        return set(got["image"].tolist())

    assert images(1, 0) == images(1, 0) < images(2, 0)
    assert len({tuple(sorted(images(1, seed))) for seed in range(8)}) > 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: selection.of_classes(SOURCE, ("a", "d")),
            "data.classes must be different classes of letters, got a, d. Its classes are: a, b, c",
        ),
        (lambda: selection.of_classes(SOURCE, ("a", "a")), "got a, a"),
        (lambda: selection.named(SOURCE, ("a", "b")), "are a, b, but letters has .* them: c. Choo"),
        (
            lambda: selection.named(SOURCE, ("x", "y")),
            r"not among them: a, b, c\. Name its 3 .*model\.num_classes=3",
        ),
        (lambda: selection.named(SOURCE, ("x", "y", "z"), renaming=False), "them: a, b, c"),
        (
            lambda: selection.few_of_each(SOURCE, 3, seed=0),
            "labels_per_class is 3, but letters/train has 2 examples of class a",
        ),
        (
            lambda: selection.few_of_each(dataclasses.replace(SOURCE, in_memory=False), 1, seed=0),
            "labels_per_class needs the labels .* letters is larger than data.cache_limit",
        ),
    ],
)
def test_what_cannot_be_selected_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
