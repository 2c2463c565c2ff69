"""Times whole networks beside torchvision's: the forward pass and a training step.

    taskset -c 0 python -m benchmarks.models --peer-python=/path/to/python/with/torch

One core (taskset) or all. Batches of 8 at 224x224 in float32 on both sides, weights at random (that
the networks are equal is measured by benchmarks/parity.py). A step is forward and backward of
softmax cross-entropy and an update of SGD with momentum. The U-Net, `benchmarks.unet`,
learns to predict noise on 8 x 128 x 128 x 3. Torch runs eagerly in both of its layouts.
Turns, figures and result files are those of `benchmarks.ops`.
"""

import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app

from benchmarks import ops as bench
from benchmarks.ops_rows import Row, largest_difference
from benchmarks.unet import UNet
from jaxcv import models

_NAMES = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vit_b_16", "swin_t")
_OPTIMIZER = optax.sgd(1e-3, momentum=0.9)


def _rows():
    for name in _NAMES:
        for step in (False, True):
            for layout in ("contiguous", "channels_last"):
                yield Row(
                    name=f"{name}, {'step' if step else 'forward'}, {layout}",
                    inputs=functools.partial(_inputs, name, step),
                    ours=functools.partial(_step if step else _forward, name),
                    peer="network",
                    options={
                        "name": name,
                        "step": step,
                        "channels_last": layout == "channels_last",
                    },
                    goal=0.8,
                    difference=None,
                )
    for layout in ("contiguous", "channels_last"):
        yield Row(
            name=f"unet, step, {layout}",
            inputs=_unet_inputs,
            ours=_unet_step,
            peer="unet_step",
            options={"names": list(_unet_params()), "channels_last": layout == "channels_last"},
            goal=0.9 if layout == "contiguous" else 0.8,
            difference=lambda ours, peer: largest_difference(ours[:1], peer),
        )


def _inputs(name, step, rng):
    """Images, labels, and the leaves of the variables and of the optimiser's state."""
    image = rng.standard_normal((8, 224, 224, 3), dtype=np.float32)
    state = _state(name, step)
    return image, rng.integers(0, 1000, 8).astype(np.int32), *jax.tree.leaves(state)


@functools.cache
def _state(name, step):
    variables = jax.jit(models.create(name).init)(
        jax.random.key(0), np.zeros((1, 224, 224, 3), np.float32)
    )
    return (variables, _OPTIMIZER.init(variables["params"])) if step else variables


def _forward(name, image, labels, *leaves):
    del labels
    variables = jax.tree.unflatten(jax.tree.structure(_state(name, False)), leaves)
    return models.create(name).apply(variables, image, train=False)["logits"]


def _step(name, image, labels, *leaves):
    variables, momentum = jax.tree.unflatten(jax.tree.structure(_state(name, True)), leaves)
    rest = {key: value for key, value in variables.items() if key != "params"}

    def loss(params):
        outputs, changed = models.create(name).apply(
            {"params": params, **rest},
            image,
            train=True,
            mutable=list(rest),
            rngs={"dropout": jax.random.key(1)},
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], labels)
        return losses.mean(), changed

    (value, changed), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    updates, momentum = _OPTIMIZER.update(gradient, momentum)
    params = optax.apply_updates(variables["params"], updates)
    return value, *jax.tree.leaves(({"params": params, **changed}, momentum))


@functools.cache
def _unet_params():
    """The U-Net's parameters, {name: array}."""
    image = np.zeros((1, 128, 128, 3), np.float32)
    params = jax.jit(UNet().init)(jax.random.key(0), image, np.zeros(1, np.float32))["params"]
    return flax.traverse_util.flatten_dict(params, sep=".")


def _unet_inputs(rng):
    """Noisy images, their times, the noise to predict, parameters and the optimiser's state."""
    image, noise = rng.standard_normal((2, 8, 128, 128, 3), dtype=np.float32)
    time = rng.uniform(0, 1000, 8).astype(np.float32)
    state = jax.tree.leaves(_OPTIMIZER.init(_unet_params()))
    return image, time, noise, *_unet_params().values(), *state


def _unet_step(image, time, noise, *arrays):
    params = dict(zip(_unet_params(), arrays))
    momentum = jax.tree.structure(jax.eval_shape(_OPTIMIZER.init, params))
    momentum = jax.tree.unflatten(momentum, arrays[len(params) :])

    def loss(params):
        params = flax.traverse_util.unflatten_dict(params, sep=".")
        return jnp.mean((UNet().apply({"params": params}, image, time) - noise) ** 2)

    value, gradient = jax.value_and_grad(loss)(params)
    updates, momentum = _OPTIMIZER.update(gradient, momentum)
    return value, *jax.tree.leaves((optax.apply_updates(params, updates), momentum))


if __name__ == "__main__":
    app.run(lambda _: bench.run("models", tuple(_rows())))
