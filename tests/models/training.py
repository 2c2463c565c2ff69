"""A network against ten reference training steps on one batch, for tests."""

import dataclasses

import jax
import numpy as np
import optax

from jaxcv import weights
from tests import golden


@dataclasses.dataclass(frozen=True)
class Run:
    """What the reference says (`meta`, `want`) and what the model did, under the same names."""

    meta: dict
    want: dict  # sampled: x.reshape(-1)[::stride]
    got: dict  # whole, in the reference's layout


def ten_steps(model, file, dtype=np.float32):
    """The steps that `file` describes, in training mode, and evaluation before and after.

    float64 wants jax.enable_x64.
    """
    meta, arrays = golden.load(file)
    recipe = golden.recipe()
    [(name, shape, low, high)] = meta["inputs"]
    image = recipe.array(name, shape, low, high).transpose(0, 2, 3, 1).astype(dtype)
    label = arrays["in/labels"]
    optimizer = _optimizer(meta["training"])

    @jax.jit
    def step(variables, momentum):
        def loss(params):
            outputs, new = model.apply(
                {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], label)
            return losses.mean(), (outputs["logits"], new)

        (value, (logits, new)), grads = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, momentum = optimizer.update(grads, momentum, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return {**variables, **new, "params": params}, momentum, value, logits, grads

    evaluate = jax.jit(lambda variables: model.apply(variables, image)["logits"])

    def named(kind, **collections):
        tree = {**variables, **collections}
        state = weights.to_state_dict(model, tree, image_shape=image.shape[1:])
        return {f"{kind}/{key}": array for key, array in state.items()}

    state = recipe.state_dict(meta)
    variables = weights.to_variables(model, state, image_shape=image.shape[1:])
    variables = jax.tree.map(lambda array: array.astype(dtype), variables)
    momentum = optimizer.init(variables["params"])
    got = {"eval_logits_start": evaluate(variables)}
    losses = []
    for index in range(meta["training"]["steps"]):
        variables, momentum, loss, logits, grads = step(variables, momentum)
        losses.append(loss)
        if index == 0:
            got["train_logits_start"] = logits
            got |= named("grad", params=grads) | named("after1") | named("buffer")
    got["losses"] = np.array(losses)
    got["eval_logits_step10"] = evaluate(variables)
    want = {key.removeprefix("out/"): a for key, a in arrays.items() if key.startswith("out/")}
    return Run(meta, want, got)


def assert_equal(run, *prefixes, error=None):
    """Every reference output with one of the prefixes is met within `error` of its largest value.

    By default within 3 times the reference's own float32 error, or 3e-6. Gradients that are 0 but
    for rounding (of biases in front of a norm) are held to 1e-6 of the largest gradient.
    """
    names = [name for name in run.want if name.startswith(prefixes)]
    assert names, prefixes
    largest = max(np.abs(a).max() for name, a in run.want.items() if name.startswith("grad/"))
    for name in names:
        stride = run.meta["outputs"][name]["stride"]
        sample = np.asarray(run.got[name]).reshape(-1)[::stride]
        if name in run.meta.get("zero_gradients", ()):
            assert np.abs(sample).max() < 1e-6 * largest, name
            continue
        try:
            if error is None:
                golden.assert_close(sample, run.want[name], run.meta["float32_error"][name])
            else:
                golden.assert_close(sample, run.want[name], floor=error)
        except AssertionError as problem:
            raise AssertionError(f"{name}: {problem}") from None


def _optimizer(training):
    options = training["options"]
    if training["optimizer"] == "AdamW":
        # torch's default decay; of optax's own defaults the others are the same.
        return optax.adamw(options["lr"], weight_decay=options.get("weight_decay", 0.01))
    return optax.chain(
        optax.add_decayed_weights(options["weight_decay"]),
        optax.sgd(options["lr"], options["momentum"]),
    )
