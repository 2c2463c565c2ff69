"""The table of results: what papers report beside what runs here reached.

    python -m experiments.reproduce --runs=runs/lenet,runs/resnet20 --output=docs/results.md

Reads result.json of finished runs; a folder without one is searched for runs. Prints the table and,
with --output, writes it.
"""

import json

from absl import flags

from experiments import cli

_RUNS = flags.DEFINE_list("runs", None, "Folders of runs, or folders that hold them.", required=True)
_OUTPUT = flags.DEFINE_string("output", "", "Markdown file for the table; default: only print.")


def main(overrides):
    import pathlib

    from jaxcv import train

    with cli.door():
        if overrides:
            raise ValueError("reproduce reads finished runs: there is no config to override.")
        table = "\n".join(_table(_results(map(pathlib.Path, _RUNS.value)))) + "\n"
        if _OUTPUT.value:
            train.write_whole(_OUTPUT.value, table)
    print(table, end="")


def _results(folders):
    """result.json of every run in or below the folders."""
    results = []
    for folder in folders:
        paths = sorted(folder.glob("**/result.json"))
        if not paths:
            raise ValueError(
                f"{folder}: no result.json in it or below. A run writes it when it has finished."
            )
        for path in paths:
            try:
                results.append(json.loads(path.read_text()))
            except ValueError as error:
                raise ValueError(f"{path} is damaged: {error}.") from error
    return results


def _table(results):
    yield "| paper | metric | paper's | ours | steps, time | device | command |"
    yield "|---|---|---|---|---|---|---|"
    for result in results:
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
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    cli.run(main, __doc__)
