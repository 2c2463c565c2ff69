import pytest

from tests.experiments import scripts

DIGITS = "--config=configs/classification/lenet_digits.py:smoke"


@pytest.fixture
def run(tmp_path):
    """Function (script, *arguments) -> scripts.Ran."""

    def run_script(script, *arguments, **options):
        return scripts.run(tmp_path, script, *arguments, **options)

    return run_script


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of LeNet's whole smoke run on the digits, which nobody changes but by adding."""
    folder = tmp_path_factory.mktemp("trained")
    ran = scripts.run(
        folder, "train", DIGITS, f"--workdir={folder / 'run'}", "--config.compilation_cache="
    )
    assert ran.status == 0, ran.stderr
    return folder / "run"
