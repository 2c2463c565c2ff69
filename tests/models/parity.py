"""A classification network against its reference file, for tests.

errors = parity.errors("resnet50")  # of classification/resnet50.npz: {output: relative error}
"""

import jax
import numpy as np

from jaxcv import models, weights
from tests import golden, xla


def errors(file, **overrides):
    """How far each output lies from the reference's: {output: max|ours - theirs| / max|theirs|}.

    The outputs are the file's: `logits`, auxiliary heads, stages under the names of the reference's
    modules. The model, `meta["name"]` of `models.create`, returns a dict of `logits`, `stages`
    {name: map [B, H, W, C] or sequence}, where the file's suffix _nhwc is left out, and, where
    there are auxiliary heads, `aux` {name: logits}.

    Args:
        file: name in the folder classification, without .npz.
        **overrides: of the model.
    """
    meta, arrays = golden.load(f"classification/{file}.npz")
    recipe = golden.recipe()
    [(name, shape, low, high)] = meta["inputs"]
    image = recipe.array(name, shape, low, high).transpose(0, 2, 3, 1)
    state = recipe.state_dict(meta, arrays)
    model = models.create(meta["name"], **overrides)
    variables = weights.convert(meta["name"], state, **overrides)
    outputs = compiled(model.apply, variables, image)(variables, image)
    found = {"logits": outputs["logits"], **outputs.get("aux", {}), **outputs["stages"]}
    wanted = {key.removeprefix("out/"): a for key, a in arrays.items() if key.startswith("out/")}
    missing = [key for key in wanted if key.removesuffix("_nhwc") not in found]
    assert not missing, f"{meta['name']} has no output {missing}, but {list(found)}"
    return {
        key: _error(found[key.removesuffix("_nhwc")], want, key, meta["outputs"][key])
        for key, want in wanted.items()
    }


def compiled(function, *arguments):
    """The function compiled for the arguments, quickly, and in float32 throughout.

    To compile and run resnet50 once takes 0.9 s, with all optimisations 1.2 s, op by op 7 s.
    """
    with jax.default_matmul_precision("highest"):
        return jax.jit(function).lower(*arguments).compile(xla.QUICK)


def _error(output, want, key, form):
    output = np.asarray(output)
    if output.ndim == 4 and not key.endswith("_nhwc"):
        output = output.transpose(0, 3, 1, 2)
    assert list(output.shape) == form["shape"], (key, output.shape, form["shape"])
    sample = output.reshape(-1)[:: form["stride"]].astype(np.float64)
    want = want.reshape(-1).astype(np.float64)
    assert sample.shape == want.shape, (key, sample.shape, want.shape)
    return np.abs(sample - want).max() / np.abs(want).max()
