import subprocess
import sys

import pytest

from jaxcv import models


def test_available_matches_a_pattern():
    assert models.available("resnet2?") == ["resnet20"]
    assert set(models.available("lenet*")) < set(models.available())
    assert models.available("no such model") == []


@pytest.mark.parametrize("name", models.available())
def test_every_name_creates_its_model(name):
    assert models.create(name, num_classes=3).num_classes == 3


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(ValueError, match=r"no model 'resnet21'.*resnet20.*available\(\)"):
        models.create("resnet21")


def test_an_unknown_attribute_lists_those_of_the_model():
    with pytest.raises(ValueError, match=r"classes: .*resnet20.*depth, width, num_classes, remat"):
        models.create("resnet20", classes=3)


def test_an_attribute_of_another_type_is_named():
    with pytest.raises(ValueError, match="width of model resnet20 must be int, got 'wide'"):
        models.create("resnet20", width="wide")


def test_listing_models_imports_no_architecture():
    code = (
        "import sys; from jaxcv import models; models.available();"
        "sys.exit('jaxcv.models.lenet' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
