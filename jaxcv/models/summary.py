"""What the layers of a model are, make and hold, as a table."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv import layers


class Layer(NamedTuple):
    """A module that contains no other, or has parameters of its own."""

    name: str  # its path, joined by dots
    kind: str  # of its class
    shape: tuple  # of its output, the first where it has several
    parameters: int  # its own


def layer_rows(model, image_shape):
    """The layers of a model in the order in which they run; nothing is computed or compiled.

    Args:
        model: a linen module.
        image_shape: [B, H, W, C] of the images that it is called with.

    Returns:
        A list of Layer. Functions (activations, most pools) are none, dropout is left out.
    """
    rows, containers = {}, set()

    def record(call, args, kwargs, context):
        output = call(*args, **kwargs)
        module = context.module
        path = module.path
        containers.update(path[:end] for end in range(len(path)))
        own = [v for v in module.variables.get("params", {}).values() if hasattr(v, "shape")]
        dropout = isinstance(module, (layers.Dropout, layers.DropPath))
        if own or not (path in containers or path in rows or dropout):
            rows[path] = Layer(
                ".".join(path),
                type(module).__name__,
                jax.tree.leaves(output)[0].shape,
                sum(parameter.size for parameter in own),
            )
        return output

    # A function of its own: what jax has traced before it does not call again.
    with nn.intercept_methods(record):
        jax.eval_shape(lambda key, image: model.init(key, image), *_arguments(image_shape))
    return list(rows.values())


def layer_table(model, image_shape):
    """Text with a line for each of `layer_rows`: name, kind, output, parameters; and their sum."""
    rows = layer_rows(model, image_shape)
    total = sum(row.parameters for row in rows)
    cells = [("layer", "kind", "output", "parameters")]
    cells += [(r.name, r.kind, " x ".join(map(str, r.shape)), f"{r.parameters:,}") for r in rows]
    cells += [("total", "", "", f"{total:,}")]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(n) for cell, n in zip(line[:-1], widths)), line[-1].rjust(widths[-1])]
        )
        for line in cells
    )


def _arguments(image_shape):
    return jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct(image_shape, jnp.float32)
