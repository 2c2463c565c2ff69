"""Dense CRFs held to pydensecrf's marginals and to the exact mean field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden

FILES = ("synthetic", "generic", "photo")
FUSED = "bandwidth_b_1_3"  # contracted multiply-adds put a pixel of it into another simplex


def cases(*files):
    """Names of the cases of some files; without the folder, one that skips."""
    return [
        pytest.param(file, name, id=name)
        for file in files
        for name in ([c["name"] for c in load(file)[0]["cases"]] if present() else ["absent"])
    ]


def present():
    return (golden.FOLDER / "crf").exists()


def load(file):
    return golden.load(f"crf/{file}.npz")


class Problem:
    """A case as our functions take it."""

    def __init__(self, file, name):
        self.meta, self.arrays = load(file)
        (self.case,) = [c for c in self.meta["cases"] if c["name"] == name]
        self.name = name
        self.unary = jnp.asarray(self.arrays[f"{name}/in/unary"].T)  # [N, L]
        self.image = self.case["image"] and self.arrays[self.case["image"]]
        self.shape = tuple(self.case["shape"] or (len(self.unary),))

    def terms(self, kernel):
        return [
            ops.Pairwise(
                kernel(self.features(term), normalization=term["normalization"]),
                jnp.asarray(term["compat"], jnp.float32),
            )
            for term in self.case["terms"]
        ]

    def features(self, term):
        if term["type"] == "features":
            return self.arrays[term["features"]].T
        if term["type"] == "gaussian":
            return ops.position_features(self.shape, sigma=term["sxy"])
        return ops.bilateral_features(self.image, sigma=term["sxy"], sigma_color=term["srgb"])

    def differences(self, marginals, prefix=""):
        """Largest difference of the marginals after each number of steps that the case has."""
        found = []
        for step in self.case["iterations"]:
            key = f"{prefix}q{step}"
            want = self.arrays[f"{self.name}/out/{key}"].reshape(-1)
            got = np.asarray(marginals[step]).T.reshape(-1)[:: self.case["stride"][key]]
            assert got.shape == want.shape
            found.append(np.abs(got - want).max())
        return max(found)


history = jax.jit(ops.mean_field_history, static_argnames="iterations")


@pytest.mark.parametrize(("file", "name"), cases(*FILES))
def test_the_lattice_equals_pydensecrf(file, name):
    problem = Problem(file, name)
    terms = problem.terms(ops.lattice_kernel)
    assert [int(t.kernel.points) for t in terms] == problem.case["lattice_points"]
    last = max(problem.case["iterations"])
    marginals, divergence = history(problem.unary, terms, iterations=last)
    print(name, problem.differences(marginals), problem.case["float32_error"])
    assert problem.differences(marginals) <= 3 * problem.case["float32_error"]
    want = problem.arrays[f"{name}/out/q{last}"]
    np.testing.assert_array_equal(ops.map_labels(marginals[-1]), want.argmax(0))
    want = problem.arrays[f"{name}/out/kl"]
    np.testing.assert_allclose(divergence, want, rtol=1e-5, atol=1e-3)
