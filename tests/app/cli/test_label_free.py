"""Studies without a label: entropy as the metric, AdaMerging as a baseline."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.command_line import mergefront


@pytest.fixture
def unlabelled(pair, tmp_path):
    """The manifest of a base and two tuned models, its data without targets."""
    manifest = shutil.copytree(pair.parent, tmp_path / "set") / pair.name
    for data in manifest.parent.glob("*-data.safetensors"):
        save_file({"inputs": load_file(data)["inputs"]}, data)
    text = manifest.read_text().replace("metric: accuracy", "metric: entropy")
    manifest.write_text(text.replace("surrogate: quadratic, ", "").replace("[average, task_arithmetic]", "[average, adamerging]"))
    return manifest


def test_a_study_runs_and_adamerging_is_one_more_row(unlabelled, tmp_path):
    run = tmp_path / "run"
    ended = mergefront("run", unlabelled, "--out", run)
    assert ended.code == 0, ended.err
    front = json.loads((run / "front.json").read_text())
    assert [task["metric"] for task in front["tasks"]] == ["entropy", "entropy"]
    named = front["baselines"]
    assert named.keys() == {"average", "adamerging"}
    mean = {name: sum(one["report"].values()) for name, one in named.items()}
    assert mean["adamerging"] < mean["average"], "less entropy, on inputs that it did not see"
    assert all(0 <= one <= 1 for one in named["adamerging"]["coefficients"])
    assert "adamerging" in (run / "report.html").read_text()


def test_with_labels_it_stands_beside_accuracy(pair, tmp_path):
    run = tmp_path / "run"
    assert mergefront("run", pair, "--out", run, "--set", "baselines=[adamerging]").code == 0
    front = json.loads((run / "front.json").read_text())
    found = front["baselines"]["adamerging"]
    base = front["base"]["report"]
    assert sum(found["report"].values()) > sum(base.values())


def test_blocks_are_named_in_every_file(pair, tmp_path):
    run = tmp_path / "run"
    changes = ["--set", "space.groups=[weight, bias]", "--set", "method.budget=20", "--set", "baselines=[adamerging]"]
    assert mergefront("run", pair, "--out", run, *changes).code == 0
    columns = [f"{tuned}:{group}" for tuned in ("upright", "inverted") for group in ("weight", "bias")]
    assert json.loads((run / "front.json").read_text())["columns"] == columns
    for name in ("front.csv", "trials.csv"):
        assert all(f"c:{column}" in (run / name).read_text().splitlines()[0].split(",") for column in columns)
    assert len(json.loads((run / "front.json").read_text())["baselines"]["adamerging"]["coefficients"]) == 4
