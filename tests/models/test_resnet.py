import jax
import jax.numpy as jnp
import pytest

from jaxcv import layers, models
from jaxcv.models import resnet
from tests.models import counting

KEY = jax.random.key(0)


def test_resnet152_has_152_layers_with_weights():
    names = counting.weight_layers(models.create("resnet152"), (64, 64, 3))
    assert len([name for name in names if "downsample" not in name]) == 152


def convolutions(**attributes):
    """{name: (strides, dilation)} of the convolutions with a window, in their order."""
    model = models.create("resnet50", stage_sizes=(1, 2, 2, 2), width=8, **attributes)
    found = {}

    def record(call, args, kwargs, context):
        module = context.module
        if isinstance(module, layers.Conv) and module.strides * module.dilation > 1:
            found[".".join(module.path)] = (module.strides, module.dilation)
        return call(*args, **kwargs)

    with resnet.nn.intercept_methods(record):
        outputs = jax.eval_shape(lambda: model.init_with_output(KEY, jnp.zeros((1, 64, 64, 3)))[0])
    return found, outputs["stages"]["layer4"].shape[1]


def test_strides_are_replaced_by_dilation_from_the_second_block_on():
    # As torchvision does: the first block of a stage keeps the dilation of the stage before.
    found, size = convolutions(replace_stride_with_dilation=(False, True, True))
    assert found == {
        "conv1": (2, 1),
        "layer2.0.conv2": (2, 1),
        "layer2.0.downsample.0": (2, 1),
        "layer3.1.conv2": (1, 2),
        "layer4.0.conv2": (1, 2),
        "layer4.1.conv2": (1, 4),
    }
    assert size == 64 // 8


def test_the_stride_of_a_bottleneck_is_where_the_paper_has_it_if_asked_for():
    found, size = convolutions(stride_on_first=True)
    strided = [
        f"layer{stage}.0.{name}" for stage in (2, 3, 4) for name in ("conv1", "downsample.0")
    ]
    assert set(found) == {"conv1", *strided}
    assert size == 64 // 32


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"replace_stride_with_dilation": (True,)}, "an entry for each stage after the first"),
        ({"bottleneck": False, "cardinality": 32}, "need bottleneck=True"),
    ],
)
def test_attributes_that_do_not_fit_are_named(attributes, message):
    model = models.create("resnet50", **attributes)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, KEY, jnp.zeros((1, 64, 64, 3)))
