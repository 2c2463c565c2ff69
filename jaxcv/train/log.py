"""What a run tells: metrics.jsonl and TensorBoard for programs, lines or a bar for people."""

import json
import os
import pathlib
import sys
import time


class MetricsLog:
    """Rows {"step", "split", name: value} in metrics.jsonl and TensorBoard's event files.

    Args:
        workdir: the run's folder.
        step: the step from which the run goes on; later rows, and a torn last line, are dropped.
    """

    def __init__(self, workdir, *, step):
        from tensorboardX import SummaryWriter

        path = pathlib.Path(workdir) / "metrics.jsonl"
        kept = [row for row in read_rows(path) if row["step"] <= step]
        temporary = path.with_name(".metrics.jsonl")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        os.replace(temporary, path)
        self._file = open(path, "a")  # noqa: SIM115, for as long as the run
        self._events = SummaryWriter(
            str(workdir), purge_step=step + 1 if step else None, flush_secs=10
        )

    def write(self, step, split, values):
        """Writes {name: float} of a split at a step."""
        self._file.write(json.dumps({"step": step, "split": split} | values) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, step)

    def picture(self, step, name, picture):
        """Shows a picture, uint8 [H, W, 3], in TensorBoard."""
        self._events.add_image(name, picture, step, dataformats="HWC")

    def close(self):
        self._file.close()
        self._events.close()


def read_rows(path):
    """The rows of a metrics.jsonl as dicts, up to its first torn line; [] without the file."""
    path = pathlib.Path(path)
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class Meter:
    """Sums of (sum, weight) by name, in float64, and their quotients."""

    def __init__(self, sums=None):
        self.sums = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, sums):
        """Adds {name: (sum, weight)} of numbers."""
        for name, (amount, weight) in sums.items():
            pair = self.sums.setdefault(name, [0.0, 0.0])
            pair[0] += amount
            pair[1] += weight

    def take(self):
        """{name: mean} of what was added, with "loss" as the sum of its terms; starts anew.

        "loss/TERM" of the only term is "loss" itself.
        """
        means = {name: amount / (weight or 1.0) for name, (amount, weight) in self.sums.items()}
        self.sums = {}
        terms = [name for name in means if name.startswith("loss/")]
        loss = sum(means[name] for name in terms)
        if len(terms) == 1:
            del means[terms[0]]
        return {"loss": loss} | means


class Console:
    """Progress for people: a bar on a terminal, else the lines alone; nothing at all if `quiet`."""

    def __init__(self, *, quiet=False):
        self._quiet, self._bar = quiet, None

    def start(self, step, steps, batch_size):
        """Starts bar and clock: from `step` of `steps`, `batch_size` examples each."""
        self._step, self._steps, self._batch_size = step, steps, batch_size
        self._since, self._away = time.monotonic(), 0.0
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=step, unit="step", dynamic_ncols=True)

    def say(self, message):
        """A line."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(message, file=sys.stdout)
        else:
            print(message, flush=True)

    def tick(self):
        """One more step was made."""
        if self._bar is not None:
            self._bar.update()

    def pause(self, seconds):
        """Takes what was not training (evaluation, compiling) out of the speed."""
        self._away += seconds

    def report(self, step, values):
        """A line of the step's values, with speed and the time that is left; returns examples/s."""
        now = time.monotonic()
        seconds = max(now - self._since - self._away, 1e-9)
        speed = (step - self._step) * self._batch_size / seconds
        left = (self._steps - step) * self._batch_size / max(speed, 1e-9)
        self._step, self._since, self._away = step, now, 0.0
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.say(f"step {step}/{self._steps}  {shown}  {speed:,.0f} examples/s  {clock(left)} left")
        return speed

    def close(self):
        if self._bar is not None:
            self._bar.close()


def clock(seconds):
    """Seconds as "m:ss" or "h:mm:ss"."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
