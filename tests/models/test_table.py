import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
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
    with pytest.raises(
        ValueError, match=r"classes: .*resnet20.*depth, width, num_classes, frozen_norm"
    ):
        models.create("resnet20", classes=3)


@pytest.mark.parametrize(
    ("name", "attribute", "value", "expected"),
    [
        ("resnet20", "num_classes", -3, "an int of at least 1, got -3"),
        ("resnet20", "num_classes", 0, "an int of at least 1, got 0"),
        ("resnet20", "num_classes", True, "an int of at least 1, got True"),
        ("resnet20", "num_classes", 10.0, "an int of at least 1, got 10.0"),
        ("resnet20", "width", 0, "an int of at least 1, got 0"),
        ("resnet20", "width", "wide", "an int of at least 1, got 'wide'"),
        ("resnet50", "bottleneck_width", 0, "an int of at least 1 or None, got 0"),
        ("resnet50", "bottleneck", 1, "a bool, got 1"),
        ("resnet50", "norm_epsilon", 0, "a number above 0, got 0"),
        ("resnet50", "stage_sizes", 3, "a tuple or list, got 3"),
        ("resnet50", "stage_sizes", (3, True), "a tuple of int, as (3, 4, 6, 3), got (3, True)"),
        ("resnet50", "stage_sizes", [3, -4], "a tuple whose numbers are at least 0, got [3, -4]"),
        ("alexnet", "widths", (8, 0), "a tuple whose numbers are at least 1, got (8, 0)"),
        ("alexnet", "dropout", "0.5", "a number in [0, 1), got '0.5'"),
        ("alexnet", "dropout", 1, "a number in [0, 1), got 1"),
        ("alexnet", "dropout", False, "a number in [0, 1), got False"),
        ("alexnet", "dropout", float("nan"), "a number in [0, 1), got nan"),
        ("alexnet", "dtype", "foo", "None or a floating dtype (jnp.bfloat16, say), got 'foo'"),
        ("alexnet", "dtype", "int8", "None or a floating dtype (jnp.bfloat16, say), got 'int8'"),
        ("mobilenet_v3_small", "norm_momentum", 1.5, "a number in [0, 1], got 1.5"),
        ("convnext_tiny", "layer_scale", -1, "a number of at least 0, got -1"),
        ("vit_b_16", "names", "x", "a jaxcv.models.vit.Names, got 'x'"),
        ("vit_b_16", "pool", 7, "a str, got 7"),
    ],
)
def test_a_value_that_an_attribute_cannot_have_is_named(name, attribute, value, expected):
    message = f"{attribute} of model {name} must be {expected}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        models.create(name, **{attribute: value})


def test_lists_are_taken_for_tuples():
    dilated = models.create("resnet50", replace_stride_with_dilation=[False, True, True])
    assert dilated.replace_stride_with_dilation == (False, True, True)
    nested = models.create("mobilenet_v2", blocks=[[1, 16, 1, 1], (6, 24, 2, 2)])
    assert nested.blocks == ((1, 16, 1, 1), (6, 24, 2, 2))
    hash(nested)


def test_numbers_of_numpy_and_ints_for_floats_are_taken():
    model = models.create("alexnet", num_classes=np.int64(7), dropout=0, dtype="bfloat16")
    assert (type(model.num_classes), model.num_classes) == (int, 7)
    assert (type(model.dropout), model.dropout) == (float, 0)
    assert model.dtype == jnp.bfloat16


def test_listing_models_imports_no_architecture():
    code = (
        "import sys; from jaxcv import models; models.available();"
        "sys.exit('jaxcv.models.lenet' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
