"""The compiled steps: one of training, one of evaluation, each a `pmap` over the axis "device"."""

import jax
import jax.numpy as jnp
import optax

from jaxcv.train import state as states


def train_step(task, optimizers, *, ema=0.0, donate=True):
    """The compiled function (state, batch) -> (state, sums) that makes one optimiser step.

    Every term of a loss is divided by its weight in the whole batch, over all micro-batches and
    devices, before the gradient is taken; so the number of devices changes rounding only.

    Args:
        task: a Task.
        optimizers: {player: optax transformation}.
        ema: decay of the moving average of parameters and statistics; 0 for none.
        donate: give the state's memory to the new state.

    Returns:
        A function of the replicated state (`states.create`) and a batch of leaves
        [devices, micro-batches, m, ...]. Sums are {name: (sum, weight)} over the batch: "loss/TERM"
        ("loss/PLAYER/TERM" for several players), what the losses log, and "grad_norm".
    """

    def step(state, batch):
        variables, slots, sums = state["variables"], dict(state["optimizer"]), {}
        key = jax.random.fold_in(jax.random.wrap_key_data(state["key"]), state["step"])
        for index, (player, losses) in enumerate(task.losses.items()):
            owned = states.owned(variables["params"], player, optimizers)
            prefix = "" if len(optimizers) == 1 else f"{player}/"
            place = _owner(variables, player, optimizers)
            player_key = jax.random.fold_in(key, index)
            gradients, collections, terms, logged = _gradients(
                losses, place, owned, batch, player_key
            )
            updates, slots[player] = optimizers[player].update(gradients, slots[player], owned)
            variables = place(optax.apply_updates(owned, updates), collections)
            sums |= {f"loss/{prefix}{term}": pair for term, pair in terms.items()}
            sums |= {f"{prefix}{name}": pair for name, pair in logged.items()}
            sums[f"{prefix}grad_norm"] = (optax.global_norm(gradients), jnp.ones(()))
        averages = jax.tree.map(
            lambda old, new: (ema * old + (1 - ema) * new).astype(old.dtype),
            state["ema"],
            variables if ema else {},
        )
        state = state | {
            "step": state["step"] + 1,
            "variables": variables,
            "optimizer": slots,
            "ema": averages,
        }
        return state, sums

    return jax.pmap(
        step,
        "device",
        in_axes=(None, 0),
        out_axes=(None, None),
        donate_argnums=(0,) if donate else (),
    )


def evaluation_step(task):
    """The compiled function (variables, batch) -> (sums, records) over all devices.

    The batch has leaves [devices, m, ...]. Sums are added up over devices; records, with the
    examples' `id` and `weight`, come back whole, [devices * m, ...].
    """

    def step(variables, batch):
        sums, records = task.measure(variables, batch)
        records = records | {"id": batch["id"], "weight": batch["weight"]}
        return (
            jax.lax.psum(sums, "device"),
            jax.lax.all_gather(records, "device", tiled=True),
        )

    return jax.pmap(step, "device", in_axes=(None, 0), out_axes=(None, None))


def _owner(variables, player, players):
    """The function (owned parameters, collections) -> variables with these in their place."""

    def place(owned, collections):
        params = owned if len(players) == 1 else variables["params"] | {player: owned}
        return variables | {"params": params} | collections

    return place


def _gradients(losses, place, owned, batch, key):
    """(gradients, new collections, terms, logged), each summed over micro-batches and devices."""
    count = jax.tree.leaves(batch)[0].shape[0]
    micro_batches = [jax.tree.map(lambda leaf, i=i: leaf[i], batch) for i in range(count)]
    keys = [jax.random.fold_in(key, i) for i in range(count)]

    def weights_of(terms):
        return {term: weight for term, (_, weight) in terms.items()}

    weights = None
    if count > 1:
        # All weights must be known before the first gradient. Where they do not depend on the
        # network, which is the rule, the compiler drops this forward pass.
        weights = jax.lax.psum(
            _add(
                weights_of(losses(place(owned, {}), micro, k)[0])
                for micro, k in zip(micro_batches, keys)
            ),
            "device",
        )

    def objective(owned, collections, micro, k):
        terms, (collections, logged) = losses(place(owned, collections), micro, k)
        total = jax.lax.psum(weights_of(terms), "device") if weights is None else weights
        total = jax.tree.map(jax.lax.stop_gradient, total)
        value = sum(
            amount / jnp.where(total[term] == 0, 1, total[term])
            for term, (amount, _) in terms.items()
        )
        return value, (terms, collections, logged)

    collections, parts = {}, []
    # Unrolled: on a CPU a scan makes convolutions two to four times slower.
    for micro, k in zip(micro_batches, keys):
        gradients, (terms, collections, logged) = jax.grad(objective, has_aux=True)(
            owned, collections, micro, k
        )
        parts.append((gradients, terms, logged))
    gradients, terms, logged = jax.lax.psum(_add(parts), "device")
    return gradients, collections, terms, logged


def _add(trees):
    """The sum of trees of one structure, leaf by leaf."""
    first, *rest = trees
    for tree in rest:
        first = jax.tree.map(jnp.add, first, tree)
    return first
