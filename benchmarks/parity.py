"""How far every network lies from the reference it reads checkpoints of.

    python -m benchmarks.parity --output=docs/parity.md

Needs the folder of reference files ($JAXCV_GOLDEN). Each file's network gets the same weights and
images as the reference's; the table says, over logits, auxiliary heads and stages, the largest
max|ours - reference| / max|reference|, beside what the reference's own float32 run differs from
its float64 run by.
"""

import json
import pathlib

import jax
from absl import app, flags

from tests import golden
from tests.models import parity

OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write; none if absent")


def main(_):
    files = sorted((golden.FOLDER / "classification").glob("*.npz"))
    if not files:
        raise app.UsageError(f"{golden.FOLDER} has no reference files: set JAXCV_GOLDEN.")
    lines = [
        "# Networks beside the reference",
        "",
        f"By `python -m benchmarks.parity`, jax {jax.__version__} on"
        f" {jax.devices()[0].device_kind}: the largest error of any output (logits, auxiliary"
        " heads, stages), relative to that output's largest value.",
        "",
        "| network | reference | parameters | largest error | of the logits | reference's own |",
        "|---|---|---|---|---|---|",
    ]
    counts = json.loads((golden.FOLDER / "classification" / "parameter_counts.json").read_text())
    for path in files:
        meta, _ = golden.load(f"classification/{path.name}")
        errors = parity.errors(path.stem)
        lines.append(
            f"| {path.stem} | {meta['source'].split(':')[0]}"
            f" | {counts[meta['name']]:,}"
            f" | {max(errors.values()):.1e} | {errors['logits']:.1e}"
            f" | {max(meta['float32_error'].values()):.1e} |"
        )
        print(lines[-1], flush=True)
    if OUTPUT.value:
        pathlib.Path(OUTPUT.value).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    app.run(main)
