"""`digits`: scikit-learn's 1,797 handwritten digits of 8x8 pixels, which need no download.

They are the test part of "Optical recognition of handwritten digits" (Alpaydin, Kaynak, UCI 1998).
The split is ours, the same for everyone: of the examples ordered by class, every fifth is for test
(360, of each class 35 to 37), the others for training (1,437). It is by example, not by writer:
whoever wrote a test digit wrote training digits too.
"""

import functools

import numpy as np

from jaxcv.data import images
from jaxcv.data.source import Source, reader

SPLITS = ("train", "test")


def source(split, *, image_size=0, channels=0):
    """A split of the digits as a Source of images [image_size, image_size, channels].

    Args:
        split: "train" or "test".
        image_size: side in pixels, reached by bilinear interpolation (`images.fit`); 0: 8.
        channels: how many times the grey channel is repeated; 0: once.
    """
    image, label = arrays(split)
    image = image[..., None]
    if image_size:
        image = np.stack([images.fit(one, size=image_size) for one in image])
    image = np.repeat(image, channels or 1, axis=-1)
    return Source(
        name="digits",
        split=split,
        size=len(label),
        read=reader({"image": image, "label": label}),
        class_names=tuple("0123456789"),
        in_memory=True,
        example_name=functools.partial("digits/{}/{}".format, split),
    )


def arrays(split):
    """A split of the digits: "train" or "test" -> (images uint8 [n, 8, 8], labels int32 [n])."""
    from sklearn import datasets

    if split not in SPLITS:
        raise ValueError(f"digits has no split {split!r}. The splits are: {', '.join(SPLITS)}.")
    everything = datasets.load_digits()
    by_class = np.argsort(everything.target, kind="stable")
    in_test = np.zeros(len(by_class), bool)
    in_test[by_class[::5]] = True
    chosen = in_test if split == "test" else ~in_test
    ink = everything.images[chosen]  # 0..16
    return np.rint(ink * 255 / 16).astype(np.uint8), everything.target[chosen].astype(np.int32)
