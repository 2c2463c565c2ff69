"""ImageNet's classes. Russakovsky et al., "ImageNet large scale visual recognition challenge",
IJCV 2015: the 1,000 of its classification task."""

import functools
import pathlib

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the images in 0..1, as torchvision's


@functools.cache
def class_names():
    """The 1,000 names, in the order in which published networks count them: a tuple.

    Source: torchvision's `categories`, in which no name comes twice ("crane", "crane bird").
    """
    file = pathlib.Path(__file__).with_name("imagenet_classes.txt")
    return tuple(file.read_text(encoding="ascii").splitlines())
