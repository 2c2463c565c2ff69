"""Parts of a data set by label: some of its classes, a few examples of each; labels by name."""

import dataclasses
import functools

import numpy as np


def of_classes(source, classes):
    """The examples of some classes, in the source's order; labels are renumbered 0, 1, ...

    Args:
        source: a Source held in memory.
        classes: names of classes, in the order of their new labels.

    Raises:
        ValueError: a name that is no class or comes twice, or a source that is not in memory.
    """
    unknown = [name for name in classes if name not in source.class_names]
    if unknown or len(set(classes)) < len(classes):
        raise ValueError(
            f"data.classes must be different classes of {source.name}, got {', '.join(classes)}."
            f" Its classes are: {', '.join(source.class_names)}."
        )
    label = _labels(source, "data.classes")
    old = np.array([source.class_names.index(name) for name in classes])
    new = np.full(len(source.class_names), -1, np.int32)
    new[old] = np.arange(len(old))
    part = _part(source, np.flatnonzero(new[label] >= 0), new)
    return dataclasses.replace(part, class_names=tuple(classes))


def named(source, class_names, *, renaming=True):
    """The source with labels that number `class_names`.

    Args:
        source: a Source.
        class_names: of a network, say, that was trained on more classes or in another order. Those
            of the source get their places there.
        renaming: whether these may be new names for classes that have others, all of them.

    Raises:
        ValueError: classes that are not among the names.
    """
    class_names, old = tuple(class_names), source.class_names
    if class_names == old:
        return source
    unknown = [name for name in old if name not in class_names]
    if not unknown:
        new = np.array([class_names.index(name) for name in old], np.int32)
        source = _part(source, np.arange(source.size), new)
    elif not (renaming and len(unknown) == len(old) == len(class_names)):
        remedy = "Choose those that are with --config.data.classes."
        if len(unknown) == len(old):
            remedy = (
                f"Name its {len(old)} classes with --config.data.class_names, or where a network"
                f" has as many by itself, give --config.model.num_classes={len(old)}."
            )
        raise ValueError(
            f"data.class_names are {_few(class_names)}, but {source.name} has classes that are not"
            f" among them: {_few(unknown)}. {remedy}"
        )
    return dataclasses.replace(source, class_names=class_names)


def few_of_each(source, count, *, seed):
    """`count` examples of each class, drawn by the seed, in the source's order.

    Args:
        source: a Source held in memory.
        count: at least 1.
        seed: int; another one draws others, and a larger count only adds to them.

    Raises:
        ValueError: a class has fewer, or a source that is not in memory.
    """
    label = _labels(source, "data.labels_per_class")
    order = np.random.default_rng(seed).permutation(len(label))
    chosen = []
    for k, name in enumerate(source.class_names):
        own = order[label[order] == k]
        if len(own) < count:
            raise ValueError(
                f"data.labels_per_class is {count}, but {source.name}/{source.split} has"
                f" {len(own)} examples of class {name}."
            )
        chosen.append(own[:count])
    return _part(source, np.sort(np.concatenate(chosen)), np.arange(len(source.class_names)))


def _few(names):
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)


def _part(source, indices, new_label):
    return dataclasses.replace(
        source,
        size=len(indices),
        read=functools.partial(_read, source.read, indices, new_label.astype(np.int32)),
        example_name=functools.partial(_name, source.example_name, indices),
    )


def _read(read, chosen, new_label, indices):
    examples = read(chosen[indices])
    return {**examples, "label": new_label[examples["label"]]}


def _name(example_name, chosen, index):
    return example_name(chosen[index])


def _labels(source, field):
    """[size] int. Of a set that is streamed this would decode every image."""
    if not source.in_memory:
        raise ValueError(
            f"{field} needs the labels of a set that is held in memory; {source.name} is larger"
            " than data.cache_limit bytes. Raise that, or leave the field empty."
        )
    if "label" not in source.read(np.arange(1)):
        raise ValueError(f"{field} needs a set of labelled images; {source.name} has no label.")
    everything = [
        source.read(np.arange(start, min(start + 1000, source.size)))["label"]
        for start in range(0, source.size, 1000)
    ]
    return np.concatenate(everything)
