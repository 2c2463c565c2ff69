"""Dense CRFs held to pydensecrf's marginals and to those of exact mean field."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from tests import golden

# Room for the lattice points of all cases of a file, so that they compile together.
ROOM = {"synthetic": 3072, "generic": 2048, "photo": 7168}
STEPS = 10


def cases(exact):
    """(file, name) of all cases; without the folder, one that skips."""
    if not (golden.FOLDER / "crf").exists():
        return [pytest.param("synthetic", "absent")]
    return [
        pytest.param(file, case["name"], id=case["name"])
        for file in ROOM
        for case in load(file)[0]["cases"]
        if "lattice_minus_exact" in case or not exact
    ]


@functools.cache
def load(file):
    return golden.load(f"crf/{file}.npz")


class Problem:
    """A case as our functions take it."""

    def __init__(self, file, name):
        meta, self.arrays = load(file)
        (self.case,) = [case for case in meta["cases"] if case["name"] == name]
        self.unary = jnp.asarray(self.arrays[f"{name}/in/unary"].T)  # [N, L]
        self.image = self.case["image"] and jnp.asarray(self.arrays[self.case["image"]])

    def output(self, key):
        return self.arrays[f"{self.case['name']}/out/{key}"]

    def history(self, kernel):
        terms = [
            ops.Pairwise(
                kernel(self.features(term), normalization=term["normalization"]),
                jnp.asarray(term["compat"], jnp.float32),
            )
            for term in self.case["terms"]
        ]
        # The same number for all, so that they compile together; but the largest is slow.
        steps = STEPS if len(self.unary) < 5000 else max(self.case["iterations"])
        return (*history(self.unary, terms, iterations=steps), terms)

    def features(self, term):
        if term["type"] == "features":
            return self.arrays[term["features"]].T
        if term["type"] == "gaussian":
            return ops.position_features(self.case["shape"], sigma=term["sxy"])
        return ops.bilateral_features(self.image, sigma=term["sxy"], sigma_color=term["srgb"])

    def difference(self, marginals, prefix=""):
        """The largest, over all numbers of steps that the case has."""
        largest = 0
        for step in self.case["iterations"]:
            want = self.output(f"{prefix}q{step}").reshape(-1)
            stride = self.case["stride"][f"{prefix}q{step}"]
            got = np.asarray(marginals[step]).T.reshape(-1)[::stride]
            assert got.shape == want.shape
            largest = max(largest, np.abs(got - want).max())
        return largest

    def assert_labels_and_divergence(self, marginals, divergence, prefix="", rtol=1e-5):
        last = max(self.case["iterations"])
        if self.case["stride"][f"{prefix}q{last}"] == 1:
            want = self.output(f"{prefix}q{last}").argmax(axis=0)
            np.testing.assert_array_equal(ops.map_labels(marginals[last]), want)
        want = self.output(f"{prefix}kl")
        np.testing.assert_allclose(divergence[: len(want)], want, rtol=rtol, atol=1e-3)


history = jax.jit(ops.mean_field_history, static_argnames="iterations")


@pytest.mark.parametrize(("file", "name"), cases(exact=False))
def test_the_lattice_equals_pydensecrf(file, name):
    problem = Problem(file, name)
    kernel = functools.partial(ops.lattice_kernel, max_points=ROOM[file])
    marginals, divergence, terms = problem.history(kernel)
    assert [int(term.kernel.points) for term in terms] == problem.case["lattice_points"]
    assert problem.difference(marginals) <= 3 * problem.case["float32_error"]
    # pydensecrf's own sums are that far from the same lattice's in float64, which gives ours.
    problem.assert_labels_and_divergence(marginals, divergence, rtol=2.5e-5)


@pytest.mark.parametrize(("file", "name"), cases(exact=True))
def test_the_exact_filter_equals_exact_mean_field(file, name):
    problem = Problem(file, name)
    marginals, divergence, _ = problem.history(ops.exact_kernel)
    assert problem.difference(marginals, "exact_") <= 1e-5
    problem.assert_labels_and_divergence(marginals, divergence, "exact_")


@pytest.mark.parametrize(
    ("file", "name"), [("synthetic", "odd_symmetric"), ("photo", "astronaut_5_symmetric")]
)
def test_all_in_one_compilation_equals_pydensecrf(file, name):
    problem = Problem(file, name)
    height, width = problem.case["shape"]
    gaussian, bilateral = problem.case["terms"]
    terms = [
        ops.Gaussian(gaussian["sxy"], gaussian["compat"]),
        ops.Bilateral(bilateral["sxy"], bilateral["srgb"], bilateral["compat"]),
    ]
    run = jax.jit(functools.partial(ops.dense_crf, terms=terms, max_points=(1024, 4096)))
    marginals = run(problem.unary.reshape(height, width, -1), problem.image)
    want = problem.output("q10").T.reshape(marginals.shape)
    np.testing.assert_allclose(marginals, want, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(ops.map_labels(marginals), want.argmax(axis=-1))
