import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models
from tests import golden
from tests.models import training

KEY = jax.random.key(0)
FILE = "training/lenet5_modern.npz"


@pytest.fixture(scope="module")
def of_1998():
    """The network of 1998 under jit, and parameters for it."""
    model = models.create("lenet5_1998")
    shapes = jax.eval_shape(model.init, KEY, jnp.zeros((1, 32, 32, 1)))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.uniform(-0.2, 0.2, leaf.shape), shapes)
    apply = jax.jit(lambda params, image: model.apply({"params": params}, image))
    return apply, variables["params"]


def test_ten_training_steps_of_lenet5_equal_the_reference():
    # In float64, to the rounding of the stored values.
    with jax.enable_x64(True):
        run = training.ten_steps(models.create("lenet5"), FILE, np.float64)
        training.assert_equal(run, "", error=1e-7)


def test_ten_training_steps_of_lenet5_in_single_precision_equal_the_reference():
    training.assert_equal(training.ten_steps(models.create("lenet5"), FILE), "")


def test_lenet5_has_61706_parameters():
    assert sum(_counts("lenet5").values()) == 61_706


def test_lenet5_of_1998_has_the_parameters_the_paper_counts():
    counts = _counts("lenet5_1998")
    assert counts.pop("output") == 850  # ours: the paper's RBF units have none
    assert counts == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert sum(counts.values()) == 60_000


def test_c3_is_connected_as_in_table_1(of_1998):
    # Table I of the paper: rows are maps of S2, columns maps of C3.
    table = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]
    connected = np.array([[cell == "X" for cell in row] for row in table])

    apply, params = of_1998
    image = np.random.default_rng(1).uniform(size=(1, 32, 32, 1))

    def c3(bias):  # of S2
        s2 = {**params["s2"], "bias": bias}
        return apply({**params, "s2": s2}, image)["stages"]["c3"]

    for source, bias in enumerate(np.eye(6)):
        moved = (c3(bias) != c3(np.zeros(6))).any((0, 1, 2))
        np.testing.assert_array_equal(moved, connected[source])


def test_subsampling_squashes_a_trained_sum(of_1998):
    apply, params = of_1998
    params = {**params, "s2": {"coefficient": np.arange(6.0), "bias": np.full(6, -0.5)}}
    stages = apply(params, np.random.default_rng(1).uniform(size=(1, 32, 32, 1)))["stages"]
    window = np.asarray(stages["c1"][0, 4:6, 8:10], np.float64).sum((0, 1))
    want = 1.7159 * np.tanh(2 / 3 * (np.arange(6) * window - 0.5))
    golden.assert_close(stages["s2"][0, 2, 4], want)


def test_an_image_of_28_pixels_is_padded_by_its_edge(of_1998):
    apply, params = of_1998
    image = np.random.default_rng(1).uniform(size=(1, 28, 28, 1))
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    golden.assert_close(apply(params, image)["logits"], apply(params, padded)["logits"])


def test_weights_of_1998_start_within_the_bounds_of_the_paper():
    init = jax.jit(models.create("lenet5_1998").init)
    params = init(KEY, jnp.zeros((1, 32, 32, 1)))["params"]
    # 2.4 over the inputs of a unit; of 150 and more draws the largest comes near.
    largest = {name: abs(params[name]["kernel"]).max() for name in ("c1", "c5", "f6")}
    for name, inputs in {"c1": 25, "c5": 400, "f6": 120}.items():
        assert 0.9 < largest[name] / (2.4 / inputs) <= 1, name
    c3 = abs(params["c3"]["kernel"])  # 18 connections of units with 3 maps, 36 with 4, 6 with 6
    for part, inputs in ((c3[..., :18], 75), (c3[..., 18:54], 100), (c3[..., 54:], 150)):
        assert 0.9 < part.max() / (2.4 / inputs) <= 1, inputs


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998"])
def test_half_precision_leaves_parameters_and_logits_in_float32(name):
    model = models.create(name, dtype=jnp.bfloat16, num_classes=5)
    outputs, variables = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((2, 28, 28, 1)))
    assert outputs["stages"]["c1"].dtype == jnp.bfloat16
    assert (outputs["logits"].shape, outputs["logits"].dtype) == ((2, 5), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("shape", [(1, 20, 20, 1), (1, 32, 32, 3)])
def test_lenet5_of_1998_names_the_sizes_it_takes(shape):
    with pytest.raises(ValueError, match=r"image must be \[B, 32, 32, 1\] or .*got \[1, "):
        jax.eval_shape(models.create("lenet5_1998").init, KEY, jnp.zeros(shape))


def test_lenet5_refuses_an_image_too_small_for_its_windows():
    with pytest.raises(ValueError, match="image is too small"):
        jax.eval_shape(models.create("lenet5").init, KEY, jnp.zeros((1, 10, 10, 1)))


def _counts(name):
    shapes = jax.eval_shape(models.create(name).init, KEY, jnp.zeros((1, 28, 28, 1)))
    return {
        layer: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for layer, tree in shapes["params"].items()
    }
