"""Times every kernel of `jaxcv.ops` beside its peer, in turn, in one run.

    python -m benchmarks.ops --peer-python=/path/to/python/with/torch --only=nms

Both sides get the same inputs and the same environment, so the same allocator settings, and the
same cores. By default large arrays are fresh memory each time, whose pages the system fills with
zeros. What `train.setup` does for a run these do here:

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_ARENA_MAX=1  # both sides
    XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=individual_dot,reduce    # ours, jax 0.10

A turn is some calls of one side, then as many of the other; a figure is the median over turns of
the mean time of a call. The table goes to stdout and, with all of the figures, to
benchmarks/results/. How to add a row: `benchmarks/ops_rows.py`.
"""

import json
import os
import pathlib
import platform
import sys
import tempfile
import time

import jax
import numpy as np
from absl import app, flags

from benchmarks.ops_rows import ROWS
from benchmarks.peer import Peer, PeerError

ONLY = flags.DEFINE_list("only", "", "rows whose names contain one of these, all if empty")
PEER_PYTHON = flags.DEFINE_string("peer-python", sys.executable, "interpreter that has torch")
TURNS = flags.DEFINE_integer("turns", 9, "turns of each side", lower_bound=1)
TURN_SECONDS = flags.DEFINE_float("turn-seconds", 0.1, "length of a turn, at least one call")
OUTPUT = flags.DEFINE_string("output", None, "result files without ending; none if empty")

FOLDER = pathlib.Path(__file__).parent
PAUSE = 0.02  # seconds between turns: thread pools of the other side stop spinning


class OurSide:
    """A row's own function, compiled, with its inputs on the device."""

    def __init__(self, row, inputs):
        self._inputs = [jax.device_put(a) for a in inputs]
        start = time.perf_counter()
        self._compiled = jax.jit(row.ours).lower(*self._inputs).compile()
        self.build = time.perf_counter() - start
        self.temporaries = self._compiled.memory_analysis().temp_size_in_bytes

    def answer(self):
        return jax.block_until_ready(self._compiled(*self._inputs))

    def seconds_of(self, calls):
        start = time.perf_counter()
        for _ in range(calls):
            answer = self._compiled(*self._inputs)
        jax.block_until_ready(answer)
        return time.perf_counter() - start


class PeerSide:
    """The same row in the peer's interpreter."""

    def __init__(self, peer, row, inputs, folder):
        self._peer, self._folder = peer, pathlib.Path(folder)
        np.savez(self._folder / "inputs.npz", *inputs)
        peer.ask(
            load=str(self._folder / "inputs.npz"), function=row.peer, options=row.options or {}
        )

    def answer(self):
        self._peer.ask(answer=str(self._folder / "answer.npz"))
        with np.load(self._folder / "answer.npz") as file:
            return tuple(file[f"arr_{i}"] for i in range(len(file.files)))

    def seconds_of(self, calls):
        return self._peer.ask(time=calls)["seconds"]


def in_turn(sides):
    """Seconds per call of each side: [sides, turns]. The first call of each is not counted."""
    calls = [max(1, round(TURN_SECONDS.value / _warm_seconds(side))) for side in sides]
    seconds = np.zeros((len(sides), TURNS.value))
    for turn in range(TURNS.value):
        for i, side in enumerate(sides):
            time.sleep(PAUSE)
            seconds[i, turn] = side.seconds_of(calls[i]) / calls[i]
    return seconds


def measure(row, peer):
    """One row's figures as a dict; `peer` is a Peer, or the reason why there is none."""
    inputs = row.inputs(np.random.default_rng(0))
    ours = OurSide(row, inputs)
    figures = {
        "name": row.name,
        "goal": goal_of(row),
        "build_s": ours.build,
        "temporaries": ours.temporaries,
    }
    with tempfile.TemporaryDirectory() as folder:
        sides = [ours]
        if row.peer is None:
            figures["peer_absent"] = "none named"
        elif isinstance(peer, str):
            figures["peer_absent"] = peer
        else:
            try:
                sides.append(PeerSide(peer, row, inputs, folder))
                if row.difference is not None:
                    figures["difference"] = row.difference(ours.answer(), sides[1].answer())
            except PeerError as error:
                del sides[1:]
                figures["peer_absent"] = str(error)
        seconds = in_turn(sides)
    names = ("ours", "peer")[: len(sides)]
    for name, of_turns in zip(names, seconds):
        low, median, high = np.percentile(of_turns, [25, 50, 75])
        figures[name] = {"median_s": median, "quartiles_s": [low, high]}
    if len(sides) == 2:
        figures["ratio"] = figures["peer"]["median_s"] / figures["ours"]["median_s"]
    figures["met"] = is_met(row, figures)
    return figures


def goal_of(row):
    """The goal on the running version of jax."""
    newer = tuple(int(part) for part in jax.__version__.split(".")[:2]) >= (0, 12)
    if newer and row.goal_from_012 is not None:
        return row.goal_from_012
    return row.goal


def is_met(row, figures):
    """Whether all that the row asks for was reached; None where it cannot be said."""
    answers = []
    if goal_of(row) is not None:
        answers.append(figures["ratio"] >= goal_of(row) if "ratio" in figures else None)
    if row.most_seconds is not None:
        answers.append(figures["ours"]["median_s"] <= row.most_seconds)
    if row.most_temporaries is not None:
        answers.append(figures["temporaries"] <= row.most_temporaries)
    return None if None in answers or not answers else all(answers)


def table(rows, results):
    """The figures in Markdown, one line a row."""
    lines = [
        "| kernel | ours, ms | peer, ms | peer / ours | goal | met | temporaries | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, figures in zip(rows, results, strict=True):
        cells = [
            row.name,
            _milliseconds(figures["ours"]),
            _milliseconds(figures["peer"]) if "peer" in figures else "-",
            f"{figures['ratio']:.1f}x" if "ratio" in figures else "-",
            _goal_in_words(row),
            {True: "yes", False: "no", None: "-"}[figures["met"]],
            f"{figures['temporaries'] / 2**20:.1f} MB",
            f"{figures['difference']:.1g}" if "difference" in figures else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def surroundings(peer):
    """Machine, versions, threads and the settings that both sides ran under."""
    names = ("MALLOC_", "LD_PRELOAD", "XLA_", "JAX_", "OMP_", "MKL_")
    return {
        "device": str(jax.devices()[0].device_kind),
        "processor": _processor(),
        "cores": sorted(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "peer": peer if isinstance(peer, str) else peer.versions,
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(names)},
        "turns": TURNS.value,
        "turn_seconds": TURN_SECONDS.value,
    }


def run(name, rows):
    """Measures the rows that the flags choose; `name` is that of the result files."""
    names = [row.name for row in rows]
    rows = [row for row in rows if any(part in row.name for part in ONLY.value or [""])]
    if not rows:
        raise app.UsageError(f"--only={','.join(ONLY.value)} matches none of: {names}")
    try:
        device = "cuda" if jax.default_backend() == "gpu" else "cpu"
        peer = Peer(PEER_PYTHON.value, "peer_torch.py", device)
    except PeerError as error:
        peer = f"absent: {PEER_PYTHON.value}: {error}"
    about = surroundings(peer)
    results = []
    for row in rows:
        print(row.name, file=sys.stderr, flush=True)
        results.append(measure(row, peer))
    if isinstance(peer, Peer):
        peer.close()
    text = "\n".join([*(f"- {k}: {v}" for k, v in about.items()), "", table(rows, results)])
    print(text)
    output = OUTPUT.value
    if output is None:
        where = f"{jax.default_backend()}_jax{jax.__version__}_cores{len(about['cores'])}"
        output = FOLDER / "results" / f"{name}_{where}"
    if output:
        output = pathlib.Path(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_name(output.name + ".md").write_text(text + "\n")
        as_json = json.dumps({**about, "rows": results}, indent=1)
        output.with_name(output.name + ".json").write_text(as_json + "\n")


def _warm_seconds(side):
    side.seconds_of(1)
    return side.seconds_of(1)


def _milliseconds(figures):
    low, high = figures["quartiles_s"]
    return f"{figures['median_s'] * 1e3:.3g} ({low * 1e3:.3g}-{high * 1e3:.3g})"


def _goal_in_words(row):
    parts = [f"{goal_of(row):g}x"] if goal_of(row) is not None else []
    if row.most_seconds is not None:
        parts.append(f"{row.most_seconds:g} s")
    if row.most_temporaries is not None:
        parts.append(f"{row.most_temporaries / 2**20:g} MB")
    return ", ".join(parts) or "-"


def _processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


if __name__ == "__main__":
    app.run(lambda _: run("ops", ROWS))
