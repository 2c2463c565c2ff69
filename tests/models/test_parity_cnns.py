import pytest

from tests.models import parity

# The most that any output (logits, auxiliary heads, stages) lies from the reference's, relative to
# its largest value. The reference's own float32 is 0.5e-6 to 1.2e-6 away. For comparison: a tanh
# GELU or a wrong epsilon moves the logits by 8e-6 and more.
BOUNDS = {
    "alexnet": 2.5e-6,
    "alexnet_2012": 2.5e-6,
    "bninception": 2.5e-6,
    "convnext_tiny": 1.5e-6,
    "densenet121": 2e-6,
    "densenet169": 2e-6,
    "googlenet": 2e-6,
    "inception_resnet_v2": 2e-6,
    "inception_v3": 2.5e-6,
    "inception_v4": 2e-6,
    "legacy_xception": 2e-6,
    "mnasnet1_0": 2e-6,
    "regnet_y_400mf": 2e-6,
    "shufflenet_v2_x1_0": 2e-6,
    "squeezenet1_1": 2e-6,
    "vgg11": 2.5e-6,
    "vgg16": 3e-6,
    "vgg16_bn": 3e-6,
    "vgg19": 2.5e-6,
}


@pytest.mark.parametrize("file", BOUNDS)
def test_every_output_equals_the_reference(file):
    errors = parity.errors(file)
    assert {name: error for name, error in errors.items() if error > BOUNDS[file]} == {}
