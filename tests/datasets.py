"""Where the real data sets are: in $JAXCV_DATA, or beside the checkout."""

import os
import pathlib

import pytest

FOLDER = pathlib.Path(
    os.environ.get("JAXCV_DATA", pathlib.Path(__file__).parents[2] / "shared" / "data")
)


def folder(name):
    """The folder `name` below the data; skips the test where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"the data {name} are not here (set JAXCV_DATA to their folder)")
    return path
