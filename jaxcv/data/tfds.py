"""Image classification sets of TensorFlow Datasets, read without TensorFlow.

TFDS gives random access to sets that were built as array_record files. Building one is a step of
its own: most builders of image sets want TensorFlow installed for it.
"""

import dataclasses
import difflib
import functools
import logging
from typing import Any

import numpy as np

from jaxcv.data import images
from jaxcv.data.source import Source

_NAME_FEATURES = ("id", "file_name", "filename", "image/filename")  # an example's own name, if any


def source(name, split, *, directory="", download=False, image_size=0, channels=0):
    """A split of a TFDS set as a Source, which decodes on reading.

    Args:
        name: TFDS's: "mnist", "cifar10:3.0.2", "emnist/letters".
        split: TFDS's: "train", "train[:90%]", "train+test".
        directory: TFDS's data_dir; "": $TFDS_DATA_DIR or ~/tensorflow_datasets.
        download: whether to build the set there if it is absent, which needs a network.
        image_size: side in pixels of the square that images are fitted to (`images.fit`); 0: as
            they are, for sets of one image size.
        channels: 1 or 3; 0: as the set has it.

    Raises:
        ValueError: the name or split is unknown, the set is not on disk (the message holds the
            command that builds it) or its images have no fixed size and image_size is 0.
    """
    import tensorflow_datasets as tfds

    _silence_advice()
    builder = _builder(name, directory, download)
    features = builder.info.features
    image, label = _features(name, features)
    height, width, own_channels = image.shape
    if not image_size and None in (height, width):
        raise ValueError(
            f"data.image_size must be set for {name}, whose images differ in size, got 0."
            " For example --config.data.image_size=224"
        )
    # Encoded images are a third of the work to hand over, and are decoded as all other files are.
    encoded = {"image": tfds.decode.SkipDecoding()}
    try:
        size = builder.info.splits[split].num_examples
        records = builder.as_data_source(split=split, decoders=encoded) if size else ()
    except ValueError as error:
        problem = str(error).splitlines()[0].rstrip(".")
        raise ValueError(_split_message(name, split, builder, problem)) from error
    if not size:
        raise ValueError(_split_message(name, split, builder, "it holds no examples"))
    example_name = functools.partial(_example_name, records, f"{name}/{split}")
    return Source(
        name=name,
        split=split,
        size=size,
        read=_Read(records, image_size, channels or own_channels or 3, example_name),
        class_names=tuple(label.names),
        in_memory=False,
        example_name=example_name,
        files=functools.partial(_files, builder, split),
    )


@dataclasses.dataclass(frozen=True)
class _Read:
    records: Any
    image_size: int
    channels: int
    example_name: Any

    def __call__(self, indices):
        _silence_advice()  # workers open the files themselves
        indices = [int(i) for i in indices]
        records = self.records.__getitems__(indices)
        pictures = [self._decode(index, record) for index, record in zip(indices, records)]
        labels = np.array([record["label"] for record in records], np.int32)
        return {"image": np.stack(pictures), "label": labels}

    def _decode(self, index, record):
        try:
            image = images.decode(record["image"], channels=self.channels)
        except images.Unreadable as error:
            raise images.Unreadable(f"{self.example_name(index)}: {error}") from error
        return images.fit(image, size=self.image_size) if self.image_size else image


def _builder(name, directory, download):
    """TFDS's builder of a set that is on disk as array_record."""
    import tensorflow_datasets as tfds

    options = {"data_dir": directory} if directory else {}
    try:
        builder = tfds.builder(name, **options)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(_unknown_message(name)) from error
    except (ValueError, AssertionError) as error:
        raise ValueError(f"data.name {name!r} is not understood by TFDS: {error}") from error
    except ImportError as error:
        raise ValueError(
            f"TFDS's builder of {name} wants a package that is not here ({error}). Install it, or"
            " choose another data.name."
        ) from error
    if builder.is_prepared():
        if tfds.core.FileFormat.ARRAY_RECORD in builder.info.available_file_formats():
            return builder
        raise ValueError(
            f"{name} is on disk as {builder.info.file_format.value} ({builder.data_path}), which"
            " only TensorFlow reads. Move it away, or build it as array_record in another folder,"
            " --config.data.dir=DIR."
        )
    if not download:
        raise ValueError(_absent_message(name, directory, builder))
    try:
        builder = tfds.builder(name, **options, file_format="array_record")
        builder.download_and_prepare()
    except Exception as error:  # network, disk, checksums, missing packages: TFDS raises anything
        raise ValueError(
            f"{name} could not be built ({type(error).__name__}: {error}).\n"
            + _how_to_build(name, directory, builder)
        ) from error
    return builder


def _features(name, features):
    import tensorflow_datasets as tfds

    image, label = (dict(features.items()).get(key) for key in ("image", "label"))
    if not (isinstance(image, tfds.features.Image) and isinstance(label, tfds.features.ClassLabel)):
        raise ValueError(
            f"data.name must be a set with the features image and label, an Image and a ClassLabel;"
            f" {name} has {', '.join(features)}."
        )
    return image, label


def _example_name(records, place, index):
    record = records[index]
    own = next((record[key] for key in _NAME_FEATURES if key in record), None)
    return f"{place}[{index}]" if own is None else own.decode()


def _files(builder, split):
    return [part.filename for part in builder.info.splits[split].file_instructions]


def _unknown_message(name):
    import tensorflow_datasets as tfds

    known = ["digits", "digit_scenes", "folder"]
    known += tfds.list_builders(with_community_datasets=False)
    near = difflib.get_close_matches(name, known, n=5) or known[:3]
    return (
        f"data.name {name!r} is no data set. Near it: {', '.join(near)}."
        " Embedded are digits and digit_scenes; folder reads your own images; the rest is TFDS's"
        " catalogue, https://www.tensorflow.org/datasets/catalog."
    )


def _absent_message(name, directory, builder):
    return (
        f"{name} is not on disk ({builder.data_path}).\n"
        + _how_to_build(name, directory, builder)
        + "\nOr let this command do it, network permitting: --config.data.download=true"
    )


def _how_to_build(name, directory, builder):
    where = f", data_dir={directory!r}" if directory else ""
    lines = [
        "The one command that builds it:",
        f'  python -c "import tensorflow_datasets as tfds; tfds.builder({name!r}{where},'
        " file_format='array_record').download_and_prepare()\"",
        "Most builders of images want TensorFlow for that one step: pip install tensorflow",
    ]
    if by_hand := builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        lines.append(
            f"Before that, fetch files by hand into downloads/manual below TFDS's folder: {by_hand}"
        )
    return "\n".join(lines)


def _split_message(name, split, builder, problem):
    have = ", ".join(f"{key} ({info.num_examples:,})" for key, info in builder.info.splits.items())
    return (
        f"{name} has no split {split!r} ({problem}). The splits are: {have};"
        " parts of them are written train[:90%] or train[1000:2000]."
    )


@functools.cache
def _silence_advice():
    # Two lines at each start that nobody can act on: files with groups of more than one record are
    # read as well, and a set that is absent gets an error of ours.
    advice = ("was created with group size", "has no dataset_info.json")
    logging.getLogger("absl").addFilter(
        lambda record: not any(words in record.getMessage() for words in advice)
    )
