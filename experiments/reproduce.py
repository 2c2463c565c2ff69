"""The table of results: what papers report beside what runs here reached.

    python -m experiments.reproduce --runs=runs/lenet,runs/resnet20 --output=docs/results.md

Reads result.json of finished runs; a folder without one is searched for runs. Prints the table and,
with --output, writes it.
"""

import json

from absl import flags

from experiments import cli

_RUNS = flags.DEFINE_list("runs", None, "Folders of runs, or folders that hold them.")
_OUTPUT = flags.DEFINE_string("output", "", "Markdown file for the table; default: only print.")

_HEAD = (
    "| paper | metric | paper's | ours | steps, time | device | command |",
    "|---|---|---|---|---|---|---|",
)


def main(overrides):
    import pathlib

    from jaxcv import train

    with cli.door():
        if overrides:
            raise ValueError("reproduce reads finished runs: there is no config to override.")
        paths = _find(map(pathlib.Path, _RUNS.value))
        table = "\n".join([*_HEAD, *map(_row, paths)]) + "\n"
        if _OUTPUT.value:
            train.write_whole(_OUTPUT.value, table)
    print(table, end="")


def _find(folders):
    """Paths of result.json in or below the folders."""
    for folder in folders:
        paths = sorted(folder.glob("**/result.json"))
        if not paths:
            raise ValueError(
                f"{folder}: no result.json in it or below. A run writes it when it has finished."
            )
        yield from paths


def _row(path):
    """A run's line of the table."""
    try:
        result = json.loads(path.read_text())
        source, metric, value = result["config"]["paper"]
        ours = result["metrics"].get(metric)
        cells = (
            source or "-",
            metric or "-",
            f"{value:.4g}" if metric else "-",
            "-" if ours is None else f"{ours:.4g}",
            f"{result['steps']:,}, {result['seconds'] / 60:.1f} min",
            result["device"],
            f"`python -m experiments.train {result['config']['command']}`",
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
    cells = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    cli.run(main, __doc__, required=("runs",))
