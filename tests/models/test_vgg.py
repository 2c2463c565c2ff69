import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, models, ops
from tests import golden
from tests.models import counting, training

KEY = jax.random.key(0)
IMAGE = (1, 224, 224, 3)

# The lecture's table, line by line; a pool's in brackets, where it has 65,664 once.
CONVOLUTIONS = [1_792, 36_928, [0], 73_856, 147_584, [0], 295_168, 590_080, 590_080, [0]]
CONVOLUTIONS += [1_180_160, 2_359_808, 2_359_808, [0], 2_359_808, 2_359_808, 2_359_808, [0]]
LINEAR = [102_764_544, 16_781_312, 4_097_000]


FILE = "training/vgg11_bn_small.npz"


def small():
    return models.create(
        "vgg11_bn", widths=(8, 16, 32, 64, 64), hidden=32, num_classes=10, dropout=0.0
    )


def test_ten_training_steps_equal_the_reference():
    # In float64, to the rounding of the stored values.
    with jax.enable_x64(True):
        training.assert_equal(training.ten_steps(small(), FILE, np.float64), "", error=1e-7)


def test_the_first_step_in_single_precision_equals_the_reference():
    run = training.ten_steps(small(), FILE)
    training.assert_equal(
        run, "eval_logits_start", "train_logits_start", "grad/", "buffer/", "after1/"
    )


@pytest.fixture(scope="module")
def rows():
    return models.layer_rows(models.create("vgg16"), IMAGE)


def test_every_layer_of_vgg16_has_the_parameters_of_the_lecture_and_pools_none(rows):
    counts = [[row.parameters] if row.kind == "MaxPool" else row.parameters for row in rows]
    assert counts == CONVOLUTIONS + LINEAR
    assert sum(row.parameters for row in rows if row.kind == "Conv") == 14_714_688
    assert sum(LINEAR) == 123_642_856


def test_the_table_of_vgg16_sums_up_to_65664_less_than_the_lectures():
    *_, total = models.layer_table(models.create("vgg16"), IMAGE).splitlines()
    assert total.split() == ["total", "138,357,544"]
    assert 138_423_208 - counting.parameters("vgg16") == 65_664


def test_vgg16_has_13_and_3_weight_layers_and_1000_classes(rows):
    kinds = [row.kind for row in rows]
    assert (kinds.count("Conv"), kinds.count("Dense")) == (13, 3)
    assert rows[-1].shape == (1, 1000)


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_a_vggs_name_is_its_depth(depth):
    small = {"widths": (1,) * 5, "hidden": 1, "num_classes": 1}
    assert counting.depth(f"vgg{depth}", (1, 32, 32, 3), **small) == depth


def test_no_vgg_has_the_lectures_96_million_parameters():
    counts = {name: counting.parameters(name) for name in models.available("vgg*")}
    assert min(counts, key=counts.get) == "vgg11"
    assert counts["vgg11"] == 132_863_336


@pytest.mark.parametrize(
    ("sizes", "channels", "weights", "multiplications"),
    [
        ((5,), 1, 25, 230_400),
        ((3, 3), 1, 18, 169_380),
        ((7,), 1, 49, 49 * 94**2),
        ((3, 3, 3), 1, 27, 9 * (98**2 + 96**2 + 94**2)),
        ((5,), 64, 102_400, 102_400 * 96**2),
        ((3, 3), 64, 73_728, 36_864 * (98**2 + 96**2)),
    ],
)
def test_3x3_kernels_in_a_row_have_fewer_weights_than_one_that_sees_as_much(
    sizes, channels, weights, multiplications
):
    model = nn.Sequential([layers.Conv(channels, size) for size in sizes])
    rows = models.layer_rows(model, (1, 100, 100, channels))
    kernels = [row.parameters - channels for row in rows]  # without the biases
    places = [row.shape[1] * row.shape[2] for row in rows]
    assert sum(kernels) == weights
    assert sum(map(int.__mul__, kernels, places)) == multiplications
    # 96 places of 100 where each sees 5 pixels, 94 where each sees 7.
    side = 100 - sum(size - 1 for size in sizes)
    assert rows[-1].shape == (1, side, side, channels)


@pytest.fixture(scope="module")
def narrow():
    """A VGG-16 of one channel and positive weights, under jit: image -> stages."""
    model = models.create("vgg16", widths=(1,) * 5, hidden=3, num_classes=2)
    shapes = jax.eval_shape(model.init, KEY, jnp.zeros((1, 32, 448, 3)))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.uniform(0.1, 0.3, leaf.shape), shapes)
    return variables["params"], jax.jit(lambda image: model.apply(variables, image)["stages"])


@pytest.mark.parametrize(("places", "field"), [(1, 212), (7, 404)], ids=["pool5", "fc6"])
def test_the_receptive_field_of(narrow, places, field):
    # Of the fourth place of pool5, whose field starts at 32 * 3 - 90 = 6.
    apply = narrow[1]
    image = jnp.ones((1, 32, 448, 3))

    def sees(column):
        pool5 = apply(image.at[:, :, column].set(jnp.nan))["features.30"]
        return bool(jnp.isnan(pool5[:, :, 3 : 3 + places]).any())

    assert [sees(column) for column in (5, 6, 5 + field, 6 + field)] == [False, True, True, False]


def test_the_first_linear_layer_is_a_7x7_convolution():
    model = models.create("vgg11", widths=(2, 2, 2, 2, 4), hidden=3, num_classes=2)
    image = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 224, 224, 3)), jnp.float32)
    shapes = jax.eval_shape(model.init, KEY, image)
    random = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: random.uniform(-0.3, 0.5, leaf.shape), shapes)
    stages = jax.jit(lambda v: model.apply(v, image)["stages"])(variables)
    fc6 = variables["params"]["classifier.0"]
    kernel = fc6["kernel"].reshape(4, 7, 7, 3).transpose(1, 2, 0, 3)
    got = nn.relu(ops.conv(stages["features.20"], jnp.asarray(kernel, jnp.float32)) + fc6["bias"])
    golden.assert_close(got[:, 0, 0], stages["classifier.1"])
    assert np.any(got > 0)
