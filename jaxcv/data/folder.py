"""`folder`: images in one folder for each class, the user's own or ImageNet's.

Either DIR/SPLIT/CLASS/*.jpg, where a split is named as its folder ("train", "val", "test"), or
DIR/CLASS/*.jpg, which has the one split "all". Labels number the class folders of all splits
together, sorted by name, so that they agree between splits.
"""

import dataclasses
import os
import pathlib

import numpy as np

from jaxcv.data import images
from jaxcv.data.source import Source


def source(directory, split, *, image_size, channels=0):
    """A split of a folder of images as a Source, which decodes on reading.

    Args:
        directory: DIR above.
        split: name of a split.
        image_size: side in pixels of the square that images are fitted to (`images.fit`).
        channels: 1 or 3; 0: 3.

    Raises:
        ValueError: there is no such folder, split or image in it, or no image_size.
    """
    if not image_size:
        raise ValueError(
            "data.image_size must be set for a folder, whose images may differ in size, got 0."
            " For example --config.data.image_size=224"
        )
    splits = _splits(directory)
    if split not in splits:
        raise ValueError(
            f"{directory} has no split {split!r}. The splits there are: {', '.join(splits)}."
            " A split is a folder of class folders; without any, all classes make the split 'all'."
        )
    class_names = tuple(sorted({name for path in splits.values() for name in _folders(path)}))
    if not class_names:
        raise ValueError(
            f"{splits[split]} has no class folders. Put each class's images into a folder of its"
            f" own, {splits[split] / 'CLASS' / 'NAME.jpg'}."
        )
    paths, labels = _files(splits[split], class_names)
    return Source(
        name="folder",
        split=split,
        size=len(paths),
        read=_Read(tuple(paths), np.array(labels, np.int32), image_size, channels or 3),
        class_names=class_names,
        in_memory=False,
        example_name=paths.__getitem__,
        files=lambda: paths,
    )


@dataclasses.dataclass(frozen=True)
class _Read:
    paths: tuple
    labels: np.ndarray
    image_size: int
    channels: int

    def __call__(self, indices):
        decoded = [images.decode(self.paths[i], channels=self.channels) for i in indices]
        fitted = [images.fit(image, size=self.image_size) for image in decoded]
        return {"image": np.stack(fitted), "label": self.labels[indices]}


def _splits(directory):
    """Folder of each split: {"train": DIR/train, ...}, or {"all": DIR}."""
    given, directory = directory, pathlib.Path(directory).expanduser()
    if not given or not directory.is_dir():
        raise ValueError(
            f"data.dir must be a folder of images by class, got {given!r}, which is none."
            " Set --config.data.dir=DIR with DIR/train/CLASS/*.jpg, DIR/test/CLASS/*.jpg."
        )
    splits = {name: directory / name for name in _folders(directory) if _folders(directory / name)}
    return splits or {"all": directory}


def _folders(path):
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _files(split, class_names):
    """Paths of a split's images, by class and name, and their labels."""
    paths, labels = [], []
    for label, name in enumerate(class_names):
        folder = split / name
        # A class may be absent from a split (a test set of some classes), but an empty folder is a
        # slip that would only show as a poor metric.
        if folder.is_dir():
            inside = sorted(entry for entry in os.listdir(folder) if images.is_image(entry))
            if not inside:
                raise ValueError(
                    f"{folder}: the class folder holds no image ({' '.join(images.SUFFIXES)})."
                    " Fill or remove it."
                )
            paths += [str(folder / entry) for entry in inside]
            labels += [label] * len(inside)
    return paths, labels
