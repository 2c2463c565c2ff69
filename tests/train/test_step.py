import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv import layers
from jaxcv.train import Task
from jaxcv.train import state as states
from jaxcv.train.batches import placed
from jaxcv.train.step import train_step
from tests.train import toy

SGD = {"toy": optax.sgd(0.1)}


def stepped(losses, variables, batch, *, optimizers=SGD, micro_batches=1, ema=0.0, steps=1):
    """(state, sums) as NumPy arrays after `steps` steps on one batch, over all devices."""
    task = Task(init=None, losses=losses, measure=None, summarise=None, predict=None, draw=None)
    state = states.create(variables, optimizers, seed=0, ema=ema > 0)
    step = train_step(task, optimizers, ema=ema)
    for placed_batch in placed([batch] * steps, micro_batches=micro_batches):
        state, sums = step(state, placed_batch)
    return states.to_host(state), states.to_host(sums)


def slope(variables, batch, key):
    """One parameter `w`; the gradient of the weighted mean of w x is the weighted mean of x."""
    del key
    weight = batch["weight"]
    return {"slope": ((variables["params"]["w"] * batch["x"] * weight).sum(), weight.sum())}, (
        {},
        {},
    )


def ramp(size=8):
    """x is 0, 1, 2, ..., all of weight 1."""
    return {"x": np.arange(size, dtype=np.float32), "weight": np.ones(size, np.float32)}


W = {"params": {"w": np.float32(2)}}


def test_a_step_descends_the_mean_over_all_devices():
    batch = ramp() | {"weight": np.float32([1, 1, 1, 1, 1, 1, 0, 0])}  # the mean of 0 .. 5 is 2.5
    state, sums = stepped({"toy": slope}, W, batch)
    np.testing.assert_allclose(state["variables"]["params"]["w"], 2 - 0.1 * 2.5, rtol=1e-6)
    assert sums["loss/slope"] == (2 * 15, 6)
    assert sums["grad_norm"] == (2.5, 1)
    assert state["step"] == 1


def detector(variables, batch, key):
    """Two terms of weights of their own: how many examples there are, and how many are found."""
    del key
    logits = toy.MODEL.apply(variables, batch["x"])
    found = batch["y"][:, 0] > 0
    errors = (logits - batch["y"]) ** 2
    return {
        "class": ((errors[:, 0] * batch["weight"]).sum(), batch["weight"].sum()),
        "box": ((errors[:, 1:].sum(-1) * found).sum(), found.sum().astype(jnp.float32)),
    }, ({}, {"found": (found.sum(), batch["weight"].sum())})


@pytest.fixture(scope="module")
def detected():
    """A batch of 16, the toy's variables, and one step of the detector on it."""
    batch, variables = toy.batch(0, 16), toy.variables(toy.task())
    return batch, variables, stepped({"toy": detector}, variables, batch)


def test_each_term_is_divided_by_its_weight_in_the_whole_batch(detected):
    batch, variables, (state, sums) = detected
    terms, _ = detector(variables, batch, None)
    assert 0 < terms["box"][1] < 16

    def objective(params):
        terms, _ = detector({"params": params}, batch, None)
        return sum(amount / weight for amount, weight in terms.values())

    gradients = jax.grad(objective)(variables["params"])
    want = jax.tree.map(lambda p, g: p - 0.1 * g, variables["params"], gradients)
    jax.tree.map(
        lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6),
        state["variables"]["params"],
        want,
    )
    for term, pair in terms.items():
        np.testing.assert_allclose(sums[f"loss/{term}"], pair, rtol=1e-5)
    assert sums["found"] == (terms["box"][1], 16)


def test_micro_batches_equal_one_large_batch(detected):
    batch, variables, (whole, whole_sums) = detected
    state, sums = stepped({"toy": detector}, variables, batch, micro_batches=2)
    jax.tree.map(
        lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6),
        (state["variables"], sums),
        (whole["variables"], whole_sums),
    )


def test_a_term_without_weight_has_a_gradient_of_zero():
    def absent(variables, batch, key):
        terms, rest = slope(variables, batch, key)
        return terms | {"none": (0 * variables["params"]["w"], jnp.zeros(()))}, rest

    state, sums = stepped({"toy": absent}, W, ramp())
    np.testing.assert_allclose(state["variables"]["params"]["w"], 2 - 0.1 * 3.5, rtol=1e-6)
    assert sums["loss/none"] == (0, 0)


def counting(variables, batch, key):
    """Beside the slope a statistic that counts the examples of each micro-batch it has seen."""
    terms, _ = slope(variables, batch, key)
    seen = variables["batch_stats"]["seen"] + jax.lax.psum(batch["weight"].sum(), "device")
    return terms, ({"batch_stats": {"seen": seen}}, {})


def test_each_micro_batch_sees_the_statistics_the_one_before_left():
    variables = W | {"batch_stats": {"seen": np.float32(100)}}
    state, _ = stepped({"toy": counting}, variables, ramp(), micro_batches=2)
    assert state["variables"]["batch_stats"]["seen"] == 108


def test_the_moving_average_is_of_parameters_and_statistics():
    variables = W | {"batch_stats": {"seen": np.float32(0)}}
    state, _ = stepped({"toy": counting}, variables, ramp(), ema=0.9, steps=2)
    # w is 2, 1.65, 1.3 and seen 0, 8, 16.
    assert state["variables"]["batch_stats"]["seen"] == 16
    np.testing.assert_allclose(
        [state["ema"]["params"]["w"], state["ema"]["batch_stats"]["seen"]],
        [0.9 * (0.9 * 2 + 0.1 * 1.65) + 0.1 * 1.3, 0.9 * 0.1 * 8 + 0.1 * 16],
        rtol=1e-6,
    )


def test_two_players_move_in_order_and_each_sees_what_the_earlier_left():
    # Each parameter's gradient is the other one's value: critic first, then maker.
    def critic(variables, batch, key):
        del key
        params, weight = variables["params"], batch["weight"].sum()
        return {"play": (params["critic"] * params["maker"] * weight, weight)}, ({}, {})

    variables = {"params": {"maker": np.float32(3), "critic": np.float32(5)}}
    state, sums = stepped(
        {"critic": critic, "maker": critic},
        variables,
        ramp(),
        optimizers={"critic": optax.sgd(0.1), "maker": optax.sgd(1.0)},
    )
    params = state["variables"]["params"]
    np.testing.assert_allclose(params["critic"], 5 - 0.1 * 3, rtol=1e-6)
    np.testing.assert_allclose(params["maker"], 3 - 1.0 * 4.7, rtol=1e-6)
    assert sums.keys() == {
        "loss/critic/play",
        "loss/maker/play",
        "critic/grad_norm",
        "maker/grad_norm",
    }
    np.testing.assert_allclose(sums["loss/maker/play"], (4.7 * 3 * 8, 8), rtol=1e-6)


def drawing(variables, batch, key):
    """Logs what each example draws, and its place, so that the sum tells which drew what."""
    terms, rest = slope(variables, batch, key)
    keys = layers.example_keys(key, len(batch["x"]))
    draws = jax.vmap(jax.random.uniform)(keys)
    return terms, (rest[0], {"draws": ((draws * batch["x"]).sum(), batch["weight"].sum())})


def test_an_example_draws_by_step_and_place_in_the_batch_not_by_its_device():
    _, sums = stepped({"toy": drawing}, W, ramp(), micro_batches=2, steps=2)
    player_key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), 0)  # step 1
    draws = [
        jax.vmap(jax.random.uniform)(layers.example_keys(jax.random.fold_in(player_key, micro), 4))
        for micro in (0, 1)
    ]
    want = (np.concatenate(draws) * np.arange(8)).sum()
    np.testing.assert_allclose(sums["draws"][0], want, rtol=1e-6)
