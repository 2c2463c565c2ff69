import pytest

from jaxcv import models
from jaxcv.models import Window

VGG16 = [
    window
    for convolutions in (2, 2, 3, 3, 3)
    for window in (*[Window(3, padding=1)] * convolutions, Window(2, stride=2))
]
ALEXNET = [
    Window(11, stride=4, padding=2),
    Window(3, stride=2),
    Window(5, padding=2),
    Window(3, stride=2),
    *[Window(3, padding=1)] * 3,
    Window(3, stride=2),
]


@pytest.mark.parametrize(
    ("windows", "size", "jump", "start"),
    [
        ([], 1, 1, 0.5),
        ([(5,)], 5, 1, 2.5),
        ([(3,), (3,)], 5, 1, 2.5),  # as one 5x5; and three of them as one 7x7
        ([(3,)] * 3, 7, 1, 3.5),
        ([(3, 1, 1), (3, 1, 2), (3, 1, 4)], 15, 1, 7.5),  # atrous, rates 1, 2, 4
        ([(3, 1, 24, 24)], 49, 1, 0.5),
        (VGG16, 212, 32, 16),
        ([*VGG16, Window(7)], 404, 32, 112),  # fc6 as a convolution
        (ALEXNET, 195, 32, 31.5),
        ([Window(11, stride=4), *ALEXNET[1:], Window(6)], 355, 32, 113.5),  # of 2012, fc6
    ],
)
def test_known_fields(windows, size, jump, start):
    assert models.receptive_field(windows) == (size, jump, start)


@pytest.mark.parametrize(
    ("name", "attributes", "stage", "windows"),
    [
        ("vgg16", {"widths": (1,) * 5, "hidden": 1}, "features.30", VGG16),
        ("alexnet", {"widths": (1,) * 5, "hidden": 1}, "features.12", ALEXNET),
    ],
)
def test_what_is_measured_is_what_is_computed(name, attributes, stage, windows):
    model = models.create(name, num_classes=1, **attributes)
    down, right = models.measured_receptive_field(model, (1, 320, 352, 3), stage)
    assert down == right == models.receptive_field(windows)


def test_shortcuts_do_not_shrink_the_field():
    # 3x3 convolutions: 1 of stride 1; 2; 2, the first of stride 2; the same again.
    windows = [*[Window(3, padding=1)] * 3, *[Window(3, 2, 1, 1), Window(3, padding=1)] * 2]
    model = models.create("resnet20", depth=8, width=1, num_classes=1)
    fields = models.measured_receptive_field(model, (1, 64, 64, 1), "layer3")
    assert fields == (models.receptive_field(windows),) * 2


def test_what_cannot_be_measured_is_named():
    model = models.create("resnet20", depth=8, width=1, num_classes=1)
    with pytest.raises(ValueError, match="the field reaches the border of 16 pixels"):
        models.measured_receptive_field(model, (1, 16, 16, 1), "layer3")
    with pytest.raises(ValueError, match="must be one of layer1, layer2, layer3, got 'layer4'"):
        models.measured_receptive_field(model, (1, 16, 16, 1), "layer4")
    with pytest.raises(ValueError, match=r"at least 2x2 pixels, got \[1, 1, 1, 4\]"):
        models.measured_receptive_field(model, (1, 4, 4, 1), "layer3")
    with pytest.raises(ValueError, match="kernel, stride and dilation must be at least 1"):
        models.receptive_field([(3, 0)])
