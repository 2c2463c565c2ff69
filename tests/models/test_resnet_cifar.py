import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models
from tests import golden
from tests.models import training

KEY = jax.random.key(0)
IMAGE = jnp.zeros((1, 32, 32, 3))


FILE = "training/resnet20_cifar.npz"


def test_ten_training_steps_equal_the_reference():
    # In float64, to the rounding of the stored values. Training amplifies float32's own to 1e-2.
    with jax.enable_x64(True):
        run = training.ten_steps(models.create("resnet20"), FILE, np.float64)
        training.assert_equal(run, "", error=1e-7)


def test_the_first_step_in_single_precision_equals_the_reference():
    run = training.ten_steps(models.create("resnet20"), FILE)
    training.assert_equal(
        run, "eval_logits_start", "train_logits_start", "grad/", "buffer/", "after1/"
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
    ],
)
def test_parameter_counts(name, count):
    shapes = jax.eval_shape(models.create(name).init, KEY, IMAGE)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == count


def test_stages_have_the_documented_strides_and_channels():
    model = models.create("resnet20", depth=8, width=4, num_classes=5)
    outputs, _ = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((2, 33, 32, 1)))
    assert outputs["logits"].shape == (2, 5)
    assert {name: stage.shape for name, stage in outputs["stages"].items()} == {
        "layer1": (2, 33, 32, 4),
        "layer2": (2, 17, 16, 8),
        "layer3": (2, 9, 8, 16),
    }


def test_rematerialised_blocks_give_the_same_values_and_gradients():
    image = jax.random.normal(KEY, (2, 8, 8, 3))
    plain = models.create("resnet20", depth=8, width=4)
    shapes = jax.eval_shape(plain.init, KEY, image)
    random = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: random.uniform(0.1, 0.5, leaf.shape).astype(np.float32), shapes
    )

    def gradients(model):
        def loss(params):
            outputs, new = model.apply(
                {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
            )
            return (outputs["logits"] ** 2).sum(), new

        compute = jax.jit(jax.value_and_grad(loss, has_aux=True)).trace(variables["params"])
        blocks = sum(equation.primitive.name == "remat2" for equation in compute.jaxpr.eqns)
        quick = {"xla_backend_optimization_level": 0}  # to compile, a third of the time
        return blocks, compute.lower().compile(quick)(variables["params"])

    none, want = gradients(plain)
    blocks, got = gradients(plain.clone(remat=True))
    assert (none, blocks) == (0, 3)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        golden.assert_close(ours, theirs, floor=1e-5)


def test_half_precision_leaves_parameters_statistics_and_logits_in_float32():
    model = models.create("resnet20", depth=8, width=4, dtype=jnp.bfloat16)
    outputs, variables = jax.eval_shape(model.init_with_output, KEY, IMAGE)
    assert outputs["stages"]["layer3"].dtype == jnp.bfloat16
    assert outputs["logits"].dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth must be 6n \+ 2.*got {depth}"):
        jax.eval_shape(models.create("resnet20", depth=depth).init, KEY, IMAGE)
