"""Times the dense CRF beside pydensecrf, in turn, in one run.

    python -m benchmarks.crf --peer-python=/path/to/python/with/pydensecrf
    taskset -c 0 python -m benchmarks.crf --peer-python=...    # one core

A photograph (scikit-learn's china.jpg), a Gaussian term of 3 pixels and a bilateral one of 80
pixels and 13 grey levels, symmetric normalisation, 10 steps. In each turn every side runs once; a
figure is the median over turns. `infer` is 10 steps on terms that are built, `build` the two-step
form outside jit (sizes first), `jitted` build and steps in one compilation, `gradient` steps and
their gradient by the unaries, `plain` the yardstick where pydensecrf is absent: the same lattice
with one sorted `segment_sum` of all corners. pydensecrf runs on one core. Then, where the lattice
overtakes the exact filter. Figures go to stdout and benchmarks/results/.
"""

import functools
import json
import os
import pathlib
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import sklearn.datasets
from absl import app, flags

from benchmarks.peer import Peer, PeerError
from jaxcv import ops

PEER_PYTHON = flags.DEFINE_string("peer-python", sys.executable, "interpreter with pydensecrf")
ONLY = flags.DEFINE_string("only", "", "cases whose name contains this")
TURNS = flags.DEFINE_integer("turns", 9, "turns of all sides", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "result files without ending; none if empty")

FOLDER = pathlib.Path(__file__).parent
STEPS = 10
TERMS = (ops.Gaussian(3, 3.0), ops.Bilateral(80, 13, 10.0))
CASES = {
    "320x240, 21 labels": (320, 240, 21),
    "500x375, 21 labels": (500, 375, 21),
    "256x256, 2 labels": (256, 256, 2),
}
CROSSING = (16, 24, 32, 48, 64, 96)  # side of a square image, 21 labels


def photograph(width, height):
    """[H, W, 3] uint8."""
    picture = PIL.Image.fromarray(sklearn.datasets.load_sample_image("china.jpg"))
    return np.asarray(picture.resize((width, height), PIL.Image.Resampling.BILINEAR))


def problem(width, height, labels):
    """Unaries [H, W, L] that are wrong at 3 of 10 pixels, and the photograph."""
    image = photograph(width, height)
    gray = image.mean(axis=-1)
    truth = np.searchsorted(np.quantile(gray, np.linspace(0, 1, labels + 1)[1:-1]), gray)
    rng = np.random.default_rng(0)
    seen = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, labels, truth.shape), truth)
    probability = np.full((height, width, labels), 0.3 / (labels - 1), np.float32)
    np.put_along_axis(probability, seen[..., None], 0.7, axis=-1)
    return -np.log(probability), image


infer = jax.jit(functools.partial(ops.dense_crf, image=None, iterations=STEPS))


@jax.jit
def gradient(unary, terms, cotangent):
    run = functools.partial(ops.dense_crf, image=None, terms=terms, iterations=STEPS)
    marginals, pullback = jax.vjp(run, unary)
    return marginals, pullback(cotangent)


@functools.partial(jax.jit, static_argnames="max_points")
def jitted(unary, image, max_points):
    return ops.dense_crf(unary, image, TERMS, iterations=STEPS, max_points=max_points)


@jax.jit
def plain(unary, terms):
    """The same steps as a first version would have them: all corners in one sorted segment_sum."""

    def filtered(kernel, order, values):
        lattice, size = kernel.lattice, kernel.max_points + 1
        corners, sides = lattice.corners.reshape(-1), lattice.corners.shape[1]
        spread = values[order // sides] * kernel.before.corners.reshape(-1)[order, None]
        points = jax.ops.segment_sum(spread, corners[order], size, indices_are_sorted=True)
        for before, after in lattice.neighbours:
            points = points + 0.5 * (points[before] + points[after])
        return (points[lattice.corners] * kernel.after.corners[..., None]).sum(axis=1)

    flat = unary.reshape(-1, unary.shape[-1])
    orders = [jnp.argsort(term.kernel.lattice.corners.reshape(-1)) for term in terms]

    def step(marginals, _):
        messages = sum(
            term.compatibility * filtered(term.kernel, order, marginals)
            for term, order in zip(terms, orders)
        )
        return jax.nn.softmax(messages - flat), None

    return jax.lax.scan(step, jax.nn.softmax(-flat), length=STEPS)[0].reshape(unary.shape)


def seconds_of(function):
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def measure(name, peer):
    """Figures of one case as a dict; `peer` is a Peer or None."""
    unary, image = map(jnp.asarray, problem(*CASES[name]))
    terms = ops.build_terms(image, TERMS)
    room = tuple(term.kernel.max_points for term in terms)
    sides = {
        "infer": lambda: infer(unary, terms=terms),
        "build": lambda: ops.build_terms(image, TERMS),
        "jitted": lambda: jitted(unary, image, room),
        "gradient": lambda: gradient(unary, terms, unary),
        "plain": lambda: plain(unary, terms),
    }
    figures = {"name": name, "points": [int(term.kernel.points) for term in terms], "room": room}
    lowered = {
        "infer": infer.lower(unary, terms=terms),
        "jitted": jitted.lower(unary, image, room),
        "gradient": gradient.lower(unary, terms, unary),
    }
    for side, stage in lowered.items():
        memory = stage.compile().memory_analysis()
        figures[f"{side}, temporaries in MB"] = memory.temp_size_in_bytes / 2**20
    marginals = np.asarray(sides["infer"]())
    np.testing.assert_allclose(sides["plain"](), marginals, atol=1e-4)
    if peer:
        with tempfile.TemporaryDirectory() as folder:
            np.savez(f"{folder}/problem.npz", unary=unary, image=image)
            peer.ask(load=f"{folder}/problem.npz")
            peer.ask(answer=f"{folder}/answer.npy", iterations=STEPS)
            answer = np.load(f"{folder}/answer.npy")
        figures["difference"] = float(abs(marginals - answer).max())
        figures["labels that differ"] = int((marginals.argmax(-1) != answer.argmax(-1)).sum())
    return {**figures, **timed(sides, peer)}


def timed(sides, peer):
    """Medians and ratios over turns in which each side runs once."""
    seconds = {side: [] for side in sides}
    for function in sides.values():
        seconds_of(function)
    for _ in range(TURNS.value):
        if peer:
            for side, value in peer.ask(time=STEPS).items():
                seconds.setdefault(f"pydensecrf {side}", []).append(value)
        for side, function in sides.items():
            seconds[side].append(seconds_of(function))
    median = {side: float(np.median(values)) for side, values in seconds.items()}
    figures = {
        "ms": {side: 1e3 * value for side, value in median.items()},
        "quartiles, ms": {
            side: [1e3 * float(q) for q in np.percentile(values, [25, 75])]
            for side, values in seconds.items()
        },
        "ratios": {
            "plain / infer": median["plain"] / median["infer"],
            "gradient / infer": median["gradient"] / median["infer"],
        },
    }
    if peer:
        theirs = median["pydensecrf build"] + median["pydensecrf infer"]
        figures["ratios"] |= {
            "pydensecrf infer / infer": median["pydensecrf infer"] / median["infer"],
            "pydensecrf / (build + infer)": theirs / (median["build"] + median["infer"]),
            "pydensecrf / jitted": theirs / median["jitted"],
        }
    return figures


def crossing():
    """ms of build and steps at growing sizes, by both filters."""
    rows = []
    for side in CROSSING:
        unary, image = map(jnp.asarray, problem(side, side, 21))
        functions = {
            filter: functools.partial(_build_and_infer, unary, image, filter)
            for filter in ("exact", "lattice")
        }
        row = {"side": side}
        for name, function in functions.items():
            seconds_of(function)
            row[name] = 1e3 * float(np.median([seconds_of(function) for _ in range(3)]))
        rows.append(row)
    return rows


def _build_and_infer(unary, image, filter):
    return infer(unary, terms=ops.build_terms(image, TERMS, filter=filter))


def main(_):
    names = [name for name in CASES if ONLY.value in name]
    if not names:
        raise app.UsageError(f"--only={ONLY.value} matches none of {list(CASES)}")
    try:
        peer, absent = Peer(PEER_PYTHON.value, "peer_crf.py"), None
    except PeerError as error:
        peer, absent = None, f"{PEER_PYTHON.value}: {error}"
    cores = len(os.sched_getaffinity(0))
    about = {
        "device": f"{jax.devices()[0].device_kind}, {_processor()}, {cores} cores",
        "load": os.getloadavg(),
        "versions": {"jax": jax.__version__, "python": sys.version.split()[0]},
        "pydensecrf": f"absent: {absent}" if absent else peer.versions,
        "turns": TURNS.value,
        "cases": [],
    }
    for name in names:
        about["cases"].append(measure(name, peer))
        print(json.dumps(about["cases"][-1], indent=1), flush=True)
        save(about, cores)
    if peer:
        peer.close()
    if not ONLY.value:
        about["build and infer by size, ms"] = crossing()
        save(about, cores)
    print(json.dumps({key: value for key, value in about.items() if key != "cases"}, indent=1))


def save(about, cores):
    """Writes what there is so far."""
    output = OUTPUT.value
    if output is None:
        name = f"crf_{jax.default_backend()}_jax{jax.__version__}_cores{cores}"
        output = FOLDER / "results" / name
    if output:
        path = pathlib.Path(output).with_name(pathlib.Path(output).name + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about, indent=1) + "\n")


def _processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown processor"


if __name__ == "__main__":
    app.run(main)
