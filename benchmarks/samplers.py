"""What samplers cost: a DDIM loop of a small U-Net beside eager torch, and a step without a model.

    python -m benchmarks.samplers --peer-python=/path/to/python/with/torch

The U-Net (749,443 parameters) takes 50 steps on 16 x 32 x 32 x 3, with the same weights and start
on both sides; the sides take turns, torch in both of its layouts. The step itself is measured with
the identity as the model, in runs of 200 steps on 16 x 32 x 32 x 3; what stochastic samplers take
is told less the drawing of their noise, measured in the same turns. Figures are medians over turns;
the quartiles and the least are in the file under benchmarks/results/ too. For the environment see
`benchmarks.ops`.
"""

import functools
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks.peer import Peer, PeerError
from benchmarks.unet import UNet
from jaxcv import samplers
from jaxcv.samplers import noise as noises

PEER_PYTHON = flags.DEFINE_string("peer-python", sys.executable, "interpreter that has torch")
TURNS = flags.DEFINE_integer("turns", 7, "turns of each side of the U-Net", lower_bound=1)
STEP_TURNS = flags.DEFINE_integer("step-turns", 25, "turns of each step", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "result file; none if empty")

FOLDER = pathlib.Path(__file__).parent
SHAPE = (16, 32, 32, 3)
UNET_STEPS, STEPS = 50, 200
SCHEDULE = samplers.noise_schedule("linear")
PAUSE = 0.02  # seconds between turns: thread pools of the other side stop spinning

# Name -> (sampler, goal in microseconds a step; of stochastic ones that above the noise).
ROWS = {
    "ddim": (samplers.ddim(SCHEDULE, steps=STEPS, clip=None), 20),
    "euler": (samplers.euler(SCHEDULE, steps=STEPS), 20),
    "heun": (samplers.heun(SCHEDULE, steps=STEPS), 40),
    "dpm_solver order 2": (samplers.dpm_solver(SCHEDULE, steps=STEPS), 40),
    "dpm_solver order 3": (samplers.dpm_solver(SCHEDULE, steps=STEPS, order=3), 40),
    "lms": (samplers.lms(SCHEDULE, steps=STEPS), 40),
    "pndm (PLMS)": (samplers.pndm(SCHEDULE, steps=STEPS, skip_prk_steps=True), 40),
    "pndm": (samplers.pndm(SCHEDULE, steps=STEPS), 40),
    "ddpm": (samplers.ddpm(SCHEDULE, steps=STEPS), 20),
    "ddim eta 1": (samplers.ddim(SCHEDULE, steps=STEPS, clip=None, eta=1.0), 20),
    "euler_ancestral": (samplers.euler_ancestral(SCHEDULE, steps=STEPS), 20),
    "dpm_solver sde": (
        samplers.dpm_solver(SCHEDULE, steps=STEPS, algorithm="sde-dpmsolver++"),
        40,
    ),
}


def unet_figures(peer):
    """Seconds of the DDIM loop on each side, [turns], and how far the answers lie apart."""
    sampler = samplers.ddim(SCHEDULE, steps=UNET_STEPS, clip=None)
    x = jax.random.normal(jax.random.key(0), SHAPE)
    net = UNet()
    params = net.init(jax.random.key(1), x, jnp.zeros(len(x)))["params"]

    @jax.jit
    def run(params, x):
        return samplers.sample(lambda x, t: net.apply({"params": params}, x, t), x, sampler)

    compiled = run.lower(params, x).compile()
    ours = np.asarray(compiled(params, x))
    seconds = {"ours": [], "peer": [], "peer, channels last": []}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        a = sampler.levels[:, 0] ** 2
        flat = flax.traverse_util.flatten_dict(params, sep=".")
        levels = {"timesteps": sampler.timesteps, "alphas": a[:-1], "alphas_after": a[1:]}
        np.savez(path / "inputs.npz", x=x, **levels, **flat)
        for turn in range(TURNS.value):
            time.sleep(PAUSE)
            start = time.perf_counter()
            compiled(params, x).block_until_ready()
            seconds["ours"].append(time.perf_counter() - start)
            for name in ("peer", "peer, channels last"):
                time.sleep(PAUSE)
                peer.ask(load=str(path / "inputs.npz"), channels_last=name != "peer")
                if turn == 0:  # which warms it up
                    peer.ask(answer=str(path / f"{name}.npy"))
                    theirs = np.load(path / f"{name}.npy")
                seconds[name].append(peer.ask(time=1)["seconds"])
    count = sum(array.size for array in flat.values())
    difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return {"parameters": count, "difference": difference}, seconds


def step_seconds():
    """Seconds of a step of each row and of its noise alone: {name: [turns]}."""
    key = jax.random.key(2)

    def noise(x):
        draw = noises.of_key(key, x.shape, x.dtype)
        return jax.lax.scan(lambda last, step: (draw(step), None), x, jnp.arange(STEPS))[0]

    runs = {"noise": jax.jit(noise)}
    for name, (sampler, _) in ROWS.items():
        run = functools.partial(samplers.sample, lambda x, t: x, sampler=sampler)
        runs[name] = jax.jit(functools.partial(run, key=key if sampler.draws else None))
    x = jax.random.normal(jax.random.key(0), SHAPE)
    for run in runs.values():
        run(x).block_until_ready()
    seconds = {name: [] for name in runs}
    for _ in range(STEP_TURNS.value):
        for name, run in runs.items():
            start = time.perf_counter()
            run(x).block_until_ready()
            seconds[name].append((time.perf_counter() - start) / STEPS)
    return seconds


def quartiles(seconds):
    """Least, quartiles and median of a list, in words that the file keeps."""
    least, low, median, high = np.percentile(seconds, [0, 25, 50, 75])
    return {"median_s": median, "quartiles_s": [low, high], "least_s": least}


def report(unet, unet_seconds, steps):
    """All figures as a dict."""
    loop = {name: quartiles(values) for name, values in unet_seconds.items()}
    best = min(loop[name]["median_s"] for name in loop if name != "ours")
    rows = []
    for name, (sampler, goal) in ROWS.items():
        figures = {"name": name, "goal_us": goal, **quartiles(steps[name])}
        above = np.array(steps[name]) - (np.array(steps["noise"]) if sampler.draws else 0)
        figures["above_noise_us" if sampler.draws else "us"] = float(np.median(above) * 1e6)
        figures["met"] = bool(np.median(above) * 1e6 <= goal)
        rows.append(figures)
    goal = 3.0 if jax.default_backend() == "gpu" else 1.0
    ratio = best / loop["ours"]["median_s"]
    return {
        "unet": {**unet, **loop, "ratio": ratio, "goal": goal, "met": bool(ratio >= goal)},
        "noise": quartiles(steps["noise"]),
        "steps": rows,
    }


def table(figures):
    """The figures in Markdown."""
    unet = figures["unet"]
    sides = ", ".join(
        f"{name} {unet[name]['median_s']:.3f} s" for name in ("ours", "peer", "peer, channels last")
    )
    lines = [
        f"DDIM, {UNET_STEPS} steps, U-Net of {unet['parameters']:,} parameters: {sides}; the faster"
        f" peer / ours {unet['ratio']:.2f} (goal {unet['goal']:g}),"
        f" difference {unet['difference']:.1g}",
        "",
        f"Noise alone: {figures['noise']['median_s'] * 1e6:.0f} us a step",
        "",
        "| sampler | us a step | less noise | least | goal | met |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["steps"]:
        above = f"{row['above_noise_us']:.1f}" if "above_noise_us" in row else "-"
        lines.append(
            f"| {row['name']} | {row['median_s'] * 1e6:.1f} | {above} | {row['least_s'] * 1e6:.1f}"
            f" | {row['goal_us']} | {'yes' if row['met'] else 'no'} |"
        )
    return "\n".join(lines)


def main(_):
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    try:
        peer = Peer(PEER_PYTHON.value, "peer_unet.py", device)
    except PeerError as error:
        raise SystemExit(f"the peer is absent: {PEER_PYTHON.value}: {error}") from None
    about = {
        "device": str(jax.devices()[0].device_kind),
        "processor": _processor(),
        "cores": sorted(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "peer": peer.versions,
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "XLA_"))},
        "turns": TURNS.value,
        "step_turns": STEP_TURNS.value,
    }
    unet = unet_figures(peer)
    peer.close()
    figures = report(*unet, step_seconds())
    print("\n".join([*(f"- {name}: {value}" for name, value in about.items()), "", table(figures)]))
    output = OUTPUT.value
    if output is None:
        output = FOLDER / "results" / f"samplers_{jax.default_backend()}_jax{jax.__version__}.json"
    if output:
        pathlib.Path(output).write_text(json.dumps(about | figures, indent=1) + "\n")


def _processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


if __name__ == "__main__":
    app.run(main)
