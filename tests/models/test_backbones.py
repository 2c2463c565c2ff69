"""What holds of every architecture of the table."""

import functools
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv import models, weights
from jaxcv.models import table
from tests import golden
from tests.models import parity, small

KEY = jax.random.key(0)
FILES = sorted(set(table._FILES.values()))


def file_of(name):
    return importlib.import_module(f"jaxcv.models.{table._FILES[name]}")


def shapes_of(name, train=False, more=0):
    """(outputs, variables) for two images, of the usual size or `more`; nothing is computed."""
    model = models.create(name)
    height, width, channels = weights.interface(name).image_shape
    image = jnp.zeros((2, height + more, width + more, channels))
    keys = {"params": KEY, "dropout": KEY}
    return jax.eval_shape(lambda: model.init_with_output(keys, image, train=train))


shapes_in_evaluation = functools.cache(shapes_of)


def count(name):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_in_evaluation(name)[1]["params"]))


def published_counts():
    path = golden.FOLDER / "classification" / "parameter_counts.json"
    if not path.exists():
        pytest.skip("parameter_counts.json is not here (set JAXCV_GOLDEN to its folder)")
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", models.available())
def test_the_docstring_states_the_number_of_parameters(name):
    output = 850 if name == "lenet5_1998" else 0  # ours, and stated by itself
    assert f"{count(name) - output:,}" in file_of(name).__doc__


@pytest.mark.parametrize("name", models.available())
def test_the_number_of_parameters_is_the_published_one(name):
    counts = published_counts()
    if name not in counts:
        pytest.skip(f"no count of {name} is published")
    assert count(name) == counts[name]


@pytest.mark.parametrize("name", models.available())
def test_every_backbone_returns_logits_and_stages_of_the_stated_strides(name):
    model = models.create(name)
    outputs, variables = shapes_in_evaluation(name)
    assert outputs["logits"].shape == (2, model.num_classes)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((variables, outputs))}
    assert dtypes == {jnp.dtype("float32")}
    strides = getattr(file_of(name), "STRIDES", {name: {}})[name]
    shapes = {stage: outputs["stages"][stage].shape for stage in strides}
    height, width, _ = weights.interface(name).image_shape
    expected = {stage: (height // stride, width // stride) for stage, stride in strides.items()}
    if {stage: shape[1:3] for stage, shape in shapes.items()} == expected:
        return
    # Layers without padding: a map grows by as many pixels as fit into what the image grows by.
    larger, _ = shapes_of(name, more=448)
    for stage, stride in strides.items():
        grown = tuple(side + 448 // stride for side in shapes[stage][1:3])
        assert larger["stages"][stage].shape[1:3] == grown, stage


@pytest.mark.parametrize("file", FILES)
def test_stages_have_the_same_shapes_in_training(file):
    name = min((name for name, of in table._FILES.items() if of == file), key=count)
    training, evaluation = shapes_of(name, train=True)[0], shapes_in_evaluation(name)[0]
    assert training["stages"] == evaluation["stages"]
    assert training["logits"] == evaluation["logits"]


def test_every_file_of_the_table_has_a_small_network():
    assert set(FILES) <= set(small.SMALL)


@pytest.mark.parametrize("file", FILES)
def test_gradients_ensembles_and_half_precision(file):
    # One compilation for all of it: that is what these networks cost.
    model, image = small.network(file)
    half, _ = small.network(file, dtype=jnp.bfloat16)
    members = [small.random_variables(model, image, seed) for seed in (0, 1)]
    ensemble = jax.tree.map(lambda *leaves: np.stack(leaves), *members)

    def loss(params, rest):
        variables, options = {**rest, "params": params}, {"rngs": {"dropout": KEY}}
        outputs, _ = model.apply(variables, image, train=True, mutable=["batch_stats"], **options)
        return (outputs["logits"] ** 2).sum()

    def everything(ensemble, member):
        rest = {name: tree for name, tree in member.items() if name != "params"}
        return {
            "gradient": jax.grad(loss)(member["params"], rest),
            "ensemble": jax.vmap(model.apply, (0, None))(ensemble, image)["logits"],
            "alone": model.apply(member, image)["logits"],
            "half": half.apply(member, image),
        }

    got = parity.compiled(everything, ensemble, members[1])(ensemble, members[1])
    moved = {
        jax.tree_util.keystr(path): np.isfinite(leaf).all() and np.any(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(got["gradient"])
    }
    assert [name for name, fine in moved.items() if not fine] == []
    golden.assert_close(got["ensemble"][1], got["alone"], floor=1e-5)
    assert not np.allclose(got["ensemble"][0], got["alone"], rtol=0.01)
    golden.assert_close(got["half"]["logits"], got["alone"], floor=0.05)
    assert got["half"]["logits"].dtype == jnp.float32
    assert {stage.dtype for stage in got["half"]["stages"].values()} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("file", FILES)
def test_every_backbone_has_derivatives_in_forward_mode(file):
    model, image = small.network(file)
    variables = small.random_variables(model, image)

    def train(variables):
        rngs = {"dropout": KEY}
        return model.apply(variables, image, train=True, mutable=["batch_stats"], rngs=rngs)[0]

    # Only traced: an operation without forward mode says so there.
    outputs, tangents = jax.eval_shape(lambda v: jax.jvp(train, (v,), (v,)), variables)
    assert tangents == outputs


def test_forward_mode_gives_the_gradient_in_a_direction():
    model, image = small.network("resnet")
    at, direction = (small.random_variables(model, image, seed) for seed in (0, 1))

    def loss(params):
        outputs, _ = model.apply(at | {"params": params}, image, train=True, mutable="batch_stats")
        return jnp.square(outputs["logits"]).mean()

    def both(params, direction):
        _, tangent = jax.jvp(loss, (params,), (direction,))
        return tangent, optax.tree.vdot(jax.grad(loss)(params), direction)

    tangent, product = jax.jit(both)(at["params"], direction["params"])
    np.testing.assert_allclose(tangent, product, rtol=1e-3)


def files_with(attribute):
    known = [file for file in FILES if file in small.SMALL]
    return [file for file in known if attribute in small.network(file)[0].__dataclass_fields__]


@pytest.mark.parametrize("file", files_with("remat"))
def test_rematerialisation_wraps_blocks_and_changes_no_variable(file):
    plain, image = small.network(file)
    variables = small.random_variables(plain, image)

    def blocks(model):
        def logits(variables):
            return model.apply(variables, image)["logits"]

        jaxpr = jax.make_jaxpr(logits)(variables).jaxpr
        return sum(equation.primitive.name == "remat2" for equation in jaxpr.eqns)

    assert blocks(plain) == 0
    assert blocks(plain.clone(remat=True)) >= 1


@pytest.mark.parametrize("file", files_with("frozen_norm"))
def test_a_frozen_norm_trains_on_its_running_statistics(file):
    model, image = small.network(file, frozen_norm=True)
    variables = small.random_variables(model, image)

    def train(variables):
        rngs = {"dropout": KEY}
        return model.apply(variables, image, train=True, mutable=["batch_stats"], rngs=rngs)

    # Statistics that come out as they went in are no equation's result.
    (_, new), jaxpr = jax.eval_shape(train, variables), jax.make_jaxpr(train)(variables).jaxpr
    assert jax.tree.structure(new["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    outputs = jaxpr.outvars[-len(jax.tree.leaves(new)) :]
    assert set(outputs) <= set(jaxpr.invars)
