"""Reading the reference files: what other people's programs computed.

The folder is found beside the checkout or in $JAXCV_GOLDEN. Without it the tests that need it skip.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib

import numpy as np
import pytest

FOLDER = pathlib.Path(
    os.environ.get("JAXCV_GOLDEN", pathlib.Path(__file__).parents[2] / "shared" / "golden")
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One case of a file: what went in, what came out, and the reference's own float32 error."""

    name: str
    function: str
    arguments: dict
    inputs: dict
    outputs: dict
    error: dict  # output -> max|float32 - float64| / max|float64|
    meta: dict


def load(name):
    """The file `name` as (meta, {key: array}); skips the test where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"reference file {name} is not here (set JAXCV_GOLDEN to its folder)")
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(str(arrays.pop("meta"))), arrays


def cases(name, *functions, prefix=""):
    """Cases of a file whose function is one of `functions` (all if none is given), for parametrize.

    Without the folder: one case that skips.
    """
    if not (FOLDER / name).exists():
        skip = pytest.mark.skip(reason=f"reference file {name} is not here (set JAXCV_GOLDEN)")
        return [pytest.param(Case("absent", "", {}, {}, {}, {}, {}), marks=skip)]
    meta, arrays = load(name)
    wanted = [
        case
        for case in meta["cases"]
        if (not functions or case["function"] in functions) and case["name"].startswith(prefix)
    ]
    if not wanted:
        raise ValueError(f"{name} has no case of {functions} with a name that starts {prefix!r}")
    return [
        Case(
            case["name"],
            case["function"],
            case.get("arguments", {}),
            _arrays_of(arrays, f"{case['name']}/in/"),
            _arrays_of(arrays, f"{case['name']}/out/"),
            case.get("float32_error", {}),
            case,
        )
        for case in wanted
    ]


def assert_close(got, want, error=0.0, floor=3e-6):
    """Largest difference within 3 times the reference's own error, or `floor`, of max|want|."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (got.shape, want.shape)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    if finite.any():
        bound = max(3 * error, floor) * max(np.abs(want[finite]).max(), 1e-30)
        difference = np.abs(got[finite] - want[finite]).max()
        assert difference <= bound, f"off by {difference:.3g}, allowed {bound:.3g}"


def recipe():
    """The module that makes weights and inputs from their names."""
    path = FOLDER / "recipe.py"
    if not path.exists():
        pytest.skip("the reference folder is not here (set JAXCV_GOLDEN)")
    spec = importlib.util.spec_from_file_location("golden_recipe", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _arrays_of(arrays, prefix):
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
