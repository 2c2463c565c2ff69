"""Holding a function to the reference's values and gradients in one go."""

import jax
import numpy as np

from tests import golden


def assert_meets(case, function, outputs=("output",)):
    """`function(inputs)` gives the case's output, and the gradients that the case has.

    Args:
        case: of `golden.cases`.
        function: from the case's inputs, as the reference lays them out, to a tuple of the outputs
            named by `outputs`, laid out likewise. The first of them is differentiated.
        outputs: names of the case's outputs.
    """
    wanted = {
        name.removeprefix("grad_"): value
        for name, value in case.outputs.items()
        if name.startswith("grad_")
    }

    def run(moving):
        first, *others = function({**case.inputs, **moving})
        return first, others

    @jax.jit
    def values_and_gradients(moving, cotangent):
        first, pullback, others = jax.vjp(run, moving, has_aux=True)
        return [first, *others], pullback(cotangent)[0]

    moving = {name: case.inputs[name] for name in wanted}
    cotangent = case.inputs.get("cotangent", np.zeros_like(case.outputs[outputs[0]]))
    values, gradients = values_and_gradients(moving, cotangent)
    for name, value in zip(outputs, values, strict=True):
        golden.assert_close(value, case.outputs[name], case.error.get(name, 0))
    for name, value in wanted.items():
        golden.assert_close(gradients[name], value, case.error.get(f"grad_{name}", 0))
