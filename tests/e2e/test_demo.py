"""`mergefront demo`: the main job from nothing, whole."""

import csv
import json

from safetensors.numpy import load_file

from tests.command_line import mergefront


def test_the_demo_searches_merges_and_reads_back(tmp_path):
    ended = mergefront("demo", "--out", tmp_path / "demo")
    assert ended.code == 0, ended.err
    assert "read back and measured again on the report split" in ended.out and "the same as its trial" in ended.out
    document = json.loads((tmp_path / "demo" / "front.json").read_text())
    assert {point["point"] for point in document["points"]} == set(range(len(document["points"])))
    for name in ("trials.csv", "front.csv"):
        assert list(csv.DictReader((tmp_path / "demo" / name).read_text().splitlines()))
    merged, base = (load_file(tmp_path / "demo" / place / "base.safetensors") for place in ("merged", "models"))
    assert {name: theta.shape for name, theta in merged.items()} == {name: theta.shape for name, theta in base.items()}
