import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models, ops
from tests import golden
from tests.models import counting

KEY = jax.random.key(0)
IMAGE = (1, 224, 224, 3)
PAPERS = ["googlenet", "googlenet_2014"]


@pytest.mark.parametrize("name", PAPERS)
def test_googlenet_has_nine_modules_57_convolutions_and_is_22_layers_deep(name):
    rows = models.layer_rows(models.create(name, aux_logits=False), IMAGE)
    kinds = [row.kind for row in rows]
    assert (kinds.count("Conv"), kinds.count("Dense")) == (57, 1)
    modules = {row.name.split(".")[0] for row in rows if row.name.startswith("inception")}
    assert len(modules) == 9
    assert counting.depth(name, IMAGE) == 22


@pytest.mark.parametrize(
    ("name", "heads", "count"),
    [
        ("googlenet", True, 13_004_888),
        ("googlenet", False, 6_624_904),
        ("googlenet_2014", True, 13_378_280),
        ("googlenet_2014", False, 6_998_552),
    ],
)
def test_parameters_with_and_without_the_heads(name, heads, count):
    assert counting.parameters(name, aux_logits=heads) == count


def test_a_1x1_convolution_before_the_5x5_takes_9_68_times_fewer_multiplications():
    rows = models.layer_rows(models.create("googlenet_2014"), IMAGE)
    thin, wide = (
        next(row for row in rows if row.name == f"inception3a.branch3.{i}.conv") for i in (0, 1)
    )
    assert (thin.shape, wide.shape) == ((1, 28, 28, 16), (1, 28, 28, 32))
    weights = thin.parameters - 16 + wide.parameters - 32  # without the biases
    assert 28 * 28 * weights == 12_443_648
    assert 28 * 28 * 5 * 5 * 192 * 32 == 120_422_400


def test_a_1x1_convolution_is_a_linear_layer_at_every_pixel():
    weights = jnp.array([[1.0, 2], [0, 1], [1, -1]])  # [out, in]
    channels = jnp.array([[[1.0, 0], [2, 1]], [[3, 1], [0, 2]]])  # [in, row, column]
    maps = ops.conv(channels.transpose(1, 2, 0)[None], weights.T[None, None])[0]
    want = [[[7, 2], [2, 5]], [[3, 1], [0, 2]], [[-2, -1], [2, -1]]]
    np.testing.assert_array_equal(maps.transpose(2, 0, 1), want)


@pytest.mark.parametrize("name", PAPERS)
def test_the_heads_answer_in_evaluation_too_in_float32(name):
    model = models.create(name, num_classes=7, dtype=jnp.bfloat16)
    outputs, _ = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((2, 64, 96, 3)))
    heads = {head: (logits.shape, logits.dtype) for head, logits in outputs["aux"].items()}
    assert heads == dict.fromkeys(("aux1", "aux2"), ((2, 7), jnp.float32))


def test_maps_of_the_paper_have_the_sizes_of_its_table():
    # Table 1: output sizes of its rows.
    shapes = counting.stages("googlenet_2014", IMAGE)
    want = {"conv1": (112, 64), "maxpool1": (56, 64), "conv3": (56, 192), "maxpool2": (28, 192)}
    want |= {"inception3a": (28, 256), "inception3b": (28, 480), "maxpool3": (14, 480)}
    want |= {"inception4a": (14, 512), "inception4b": (14, 512), "inception4c": (14, 512)}
    want |= {"inception4d": (14, 528), "inception4e": (14, 832), "maxpool4": (7, 832)}
    want |= {"inception5a": (7, 832), "inception5b": (7, 1024)}
    assert shapes == {name: (1, side, side, width) for name, (side, width) in want.items()}


def test_the_paper_normalises_after_the_first_pool_and_before_the_second():
    # Of one channel alone, response normalisation is x / (1 + 1e-4 / 5 x^2)^0.75.
    model = models.create("googlenet_2014", width_multiplier=1 / 192, modules=(), aux_logits=False)
    image = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 32, 32, 3)), jnp.float32)
    shapes = jax.eval_shape(model.init, KEY, image)
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 2.0), shapes)
    stages = jax.jit(model.apply)(variables, image)["stages"]

    def normalised(x):
        x = np.asarray(x, np.float64)
        return x * (1 + 1e-4 / 5 * x**2) ** -0.75

    x = 2 * normalised(stages["maxpool1"]) + 2  # conv2, 1x1
    x = np.pad(x[0, ..., 0], 1)
    sums = sum(x[i : i + 8, j : j + 8] for i in range(3) for j in range(3))
    golden.assert_close(stages["conv3"][0, ..., 0], 2 * sums + 2)
    pooled = ops.max_pool(
        jnp.asarray(normalised(stages["conv3"])), window=3, strides=2, ceil_mode=True
    )
    golden.assert_close(stages["maxpool2"], pooled)


def test_heads_without_the_modules_that_they_read_are_refused():
    modules = (("inception4a", (192, 96, 208, 16, 48, 64)),)
    model = models.create("googlenet", modules=modules)
    with pytest.raises(ValueError, match=r"have inception4d, .* got inception4a\. .*aux_logits"):
        jax.eval_shape(model.init, KEY, jnp.zeros(IMAGE))
