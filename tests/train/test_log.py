import io
import json

import numpy as np
import pytest

from jaxcv.train import log


def write(workdir, *, steps, resume=0):
    writer = log.MetricsLog(workdir, step=resume)
    for step in steps:
        writer.write(step, "train", {"loss": step / 10})
    writer.close()


def steps_in(workdir):
    return [row["step"] for row in log.read_rows(workdir / "metrics.jsonl")]


def test_a_row_is_step_split_and_values(tmp_path):
    write(tmp_path, steps=[5])
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"step": 5, "split": "train", "loss": 0.5}\n'


def test_rows_behind_the_step_of_a_resume_go(tmp_path):
    write(tmp_path, steps=[2, 4, 6, 8])
    write(tmp_path, steps=[5, 6], resume=4)
    assert steps_in(tmp_path) == [2, 4, 5, 6]


@pytest.mark.parametrize("torn", ['{"step": 4, "spl', "\0\0\0\0", '{"step": 4, "split": "t\ufffd'])
def test_a_torn_last_line_goes(tmp_path, torn):
    write(tmp_path, steps=[1, 2])
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    assert steps_in(tmp_path) == [1, 2]
    write(tmp_path, steps=[5], resume=4)
    assert steps_in(tmp_path) == [1, 2, 5]


def test_a_character_cut_in_two_is_torn_too(tmp_path):
    write(tmp_path, steps=[1])
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write('{"split": "prüf'.encode()[:-2])
    assert steps_in(tmp_path) == [1]


def test_without_a_file_there_are_no_rows(tmp_path):
    assert log.read_rows(tmp_path / "metrics.jsonl") == []


def test_tensorboard_gets_values_and_pictures(tmp_path):
    writer = log.MetricsLog(tmp_path, step=0)
    writer.write(3, "test", {"top1": 0.5})
    writer.picture(3, "test/predictions.png", np.zeros((2, 2, 3), np.uint8))
    writer.close()
    (events,) = tmp_path.glob("events.out.tfevents.*")
    content = events.read_bytes()
    assert b"test/top1" in content
    assert b"test/predictions.png" in content
    assert b"\x89PNG" in content


def test_a_meter_divides_sums_by_weights_and_names_the_only_term_loss():
    meter = log.Meter()
    meter.add({"loss/square": (6.0, 2.0), "top1": (1.0, 2.0)})
    meter.add({"loss/square": (6.0, 4.0), "top1": (3.0, 4.0)})
    assert meter.take() == {"loss": 2.0, "top1": 4 / 6}
    assert meter.sums == {}


def test_a_meter_adds_up_several_terms_each_over_its_own_weight():
    meter = log.Meter()
    meter.add({"loss/class": (6.0, 2.0), "loss/box": (2.0, 4.0), "loss/none": (0.0, 0.0)})
    assert meter.take() == {"loss": 3.5, "loss/class": 3.0, "loss/box": 0.5, "loss/none": 0.0}


def test_a_meter_goes_on_from_sums_that_went_through_json():
    meter = log.Meter()
    meter.add({"loss/square": (1.0, 2.0)})
    meter = log.Meter(json.loads(json.dumps(meter.sums)))
    meter.add({"loss/square": (2.0, 1.0)})
    assert meter.take() == {"loss": 1.0}


def test_without_a_terminal_there_are_plain_lines(capsys):
    console = log.Console()
    console.start(10, 30, 8)
    console.say("hello")
    console.tick()
    assert console.report(20, {"loss": 0.123456}) > 0
    console.close()
    out, err = capsys.readouterr()
    assert out.startswith("hello\nstep 20/30  loss 0.1235  ")
    assert out.endswith(" left\n")
    assert err == ""


def test_on_a_terminal_there_is_a_bar_that_lines_do_not_tear(capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    console = log.Console()
    console.start(0, 3, 8)
    console.tick()
    console.say("hello")
    console.close()
    assert "/3 [" in terminal.getvalue()
    assert capsys.readouterr().out == "hello\n"


def test_a_quiet_console_says_nothing(capsys):
    console = log.Console(quiet=True)
    console.start(0, 3, 8)
    console.say("hello")
    console.report(1, {"loss": 1.0})
    console.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (61.9, "1:01"), (3599, "59:59"), (3725, "1:02:05")]
)
def test_time_is_shown_as_a_clock(seconds, shown):
    assert log.clock(seconds) == shown
