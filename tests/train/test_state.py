import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv.train import state as states


def arrays(**changed):
    plain = {
        "params/kernel": np.float32([[1, 2], [3, 4]]),
        "params/bias": np.zeros(2, np.float32),
        "step": np.array(3, np.int32),
    }
    return plain | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"params/kernel": np.float32([[1, 2], [3, np.nextafter(np.float32(4), 5)]])},  # one bit
        {"params/kernel": np.float32([1, 2, 3, 4])},
        {"params/bias": np.zeros(2, np.int32)},
        {"params/bias": np.float32([0, -0.0])},
        {"step": np.array(4, np.int32)},
        {"more": np.zeros(0)},
    ],
)
def test_the_digest_changes_with_any_bit_shape_type_or_name(changed):
    assert states.digest(arrays(**changed)) != states.digest(arrays())


def test_the_digest_does_not_depend_on_order_place_or_layout():
    turned = dict(reversed(arrays().items()))
    turned["params/kernel"] = np.asfortranarray(turned["params/kernel"])
    assert states.digest(turned) == states.digest(arrays())
    assert states.digest(states.replicate(arrays())) == states.digest(arrays())


def test_the_digest_reads_bfloat16():
    assert len(states.digest({"x": jnp.ones(3, jnp.bfloat16)})) == 64


def test_names_are_the_joined_paths():
    tree = {"params": {"layer1.0": {"kernel": 1}}, "optimizer": (2, optax.EmptyState(), [3])}
    assert states.named(tree) == {"params/layer1.0/kernel": 1, "optimizer/0": 2, "optimizer/2/0": 3}


def test_every_leaf_lies_on_every_device_from_the_start():
    variables = {"params": {"w": np.ones(3, np.float32)}}
    state = states.create(variables, {"player": optax.adam(0.1)}, seed=5, ema=True)
    for name, leaf in states.named(state).items():
        assert leaf.sharding.is_fully_replicated, name
        assert leaf.sharding.device_set == set(jax.devices()), name
    np.testing.assert_array_equal(state["key"], jax.random.key_data(jax.random.key(5)))
    np.testing.assert_array_equal(state["ema"]["params"]["w"], np.ones(3))
    assert states.create(variables, {"player": optax.sgd(0.1)}, seed=5, ema=False)["ema"] == {}


def test_of_several_players_each_owns_the_parameters_of_its_name():
    params = {"maker": 1, "critic": 2}
    assert states.owned(params, "critic", ["maker", "critic"]) == 2
    assert states.owned(params, "critic", ["critic"]) == params


def test_a_tree_goes_through_its_names_and_back():
    tree = {"a": {"b": np.arange(3)}, "none": np.zeros((0, 2)), "c": (np.ones(()),)}
    there = {name: leaf for name, leaf in states.named(tree).items() if leaf.size}
    jax.tree.map(np.testing.assert_array_equal, states.from_named(tree, there, origin="x"), tree)


def test_another_tree_is_refused_with_every_difference():
    template = {"a": np.zeros(2, np.float32), "b": np.zeros(3), "c": np.zeros(1)}
    wrong = {"a": np.zeros(2, np.int32), "b": np.zeros(4), "d": np.zeros(1)}
    with pytest.raises(ValueError, match=r"The file is of another model .*4 differences") as error:
        states.from_named(template, wrong, origin="The file")
    for part in (
        "c is missing",
        "d is unknown here",
        "a is int32[2], not float32[2]",
        "b is float64[4], not float64[3]",
    ):
        assert part in str(error.value)


def test_what_comes_to_the_host_is_a_copy():
    array = np.ones(2)
    states.to_host({"x": array})["x"][0] = 5
    assert array[0] == 1
