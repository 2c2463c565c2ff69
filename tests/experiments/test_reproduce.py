import json
import shutil

HEAD = """\
| paper | metric | paper's | ours | steps, time | device | command |
|---|---|---|---|---|---|---|
"""


def test_the_table_has_the_papers_number_beside_ours(run, trained, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        shutil.copy(trained / "result.json", tmp_path / "runs" / name)
    path = tmp_path / "runs" / "b" / "result.json"
    result = json.loads(path.read_text())
    result["config"]["paper"] = ["LeCun 1998", "test/top1", 0.9905]
    result["config"]["command"] = "--config=x.py '--config.optimizer.freeze=a|b'"
    result["metrics"]["test/top1"] = 0.98765
    result["steps"], result["seconds"], result["device"] = 9375, 90, "1 x cpu"
    path.write_text(json.dumps(result))

    ran = run(
        "reproduce", f"--runs={tmp_path / 'runs'}", f"--output={tmp_path / 'docs' / 'results.md'}"
    )
    assert (ran.status, ran.stderr) == (0, "")
    assert (tmp_path / "docs" / "results.md").read_text() == ran.stdout
    assert ran.stdout.startswith(f"{HEAD}| - | - | - | - | 150, ")
    assert ran.stdout.endswith(
        "| LeCun 1998 | test/top1 | 0.9905 | 0.9877 | 9,375, 1.5 min | 1 x cpu |"
        " `python -m experiments.train --config=x.py '--config.optimizer.freeze=a\\|b'` |\n"
    )
