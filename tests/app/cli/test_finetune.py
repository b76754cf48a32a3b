"""`mergefront finetune`, from options to adapters, and on to studies and merges of them."""

import json

import pytest
from safetensors.torch import load_file

from checkpoints.layout import open_layout
from tests.command_line import mergefront

MANIFEST = """\
name: adapters
models:
  base: base.safetensors
  tuned: {upright: UPRIGHT, inverted: INVERTED}
architecture: {factory: "net.py:Net"}
tasks:
  upright: {data: upright-data.safetensors, head: heads.safetensors#upright, metric: accuracy}
  inverted: {data: inverted-data.safetensors, head: heads.safetensors#inverted, metric: accuracy}
method: {name: map, surrogate: quadratic, budget: 8}
front: {points: 5, verify: 1}
baselines: [average]
"""


def options(folder, task, kind, out, *more):
    return (
        "finetune", "--base", folder / "base.safetensors", "--factory", f"{folder / 'net.py'}:Net",
        "--data", folder / f"{task}-data.safetensors", "--head", f"{folder / 'heads.safetensors'}#{task}",
        "--adapter", kind, "--out", out, "--rank", 4, "--epochs", 3, "--rate", 0.02, *more,
    )  # fmt: skip


class TestFinetune:
    def test_says_what_came_out(self, pair, tmp_path):
        ended = mergefront(*options(pair.parent, "upright", "tangent", tmp_path / "out"))
        assert ended.code == 0, ended.err
        assert ended.out.startswith("accuracy: held out ") and f"written: {tmp_path / 'out'}" in ended.out
        assert open_layout(tmp_path / "out").kind == "tangent"

    def test_every_wrong_option_is_told_at_once(self, tmp_path):
        ended = mergefront("finetune", "--base", "b", "--data", "d", "--adapter", "dora", "--rank", 0, "--out", tmp_path)
        assert ended.code == 2
        assert [line.split(":")[0].strip() for line in ended.err.splitlines()[1:]] == ["architecture", "adapter.kind", "adapter.rank"]

    def test_targets_that_match_nothing(self, pair, tmp_path):
        ended = mergefront(*options(pair.parent, "upright", "lora", tmp_path / "out", "--target", "query"))
        assert ended.code == 2 and "'query' matches no layer; there are 0" in ended.err
        assert not (tmp_path / "out").exists()

    def test_a_directory_that_holds_an_adapter(self, pair, tmp_path):
        assert mergefront(*options(pair.parent, "upright", "lora", tmp_path / "out")).code == 0
        again = mergefront(*options(pair.parent, "upright", "lora", tmp_path / "out"))
        assert again.code == 2 and "finished adapter" in again.err


@pytest.mark.parametrize(("kind", "rank"), [("lora", 8), ("llora", 4)])
def test_adapters_are_searched_and_merged_as_any_tuned_models(kind, rank, pair, tmp_path):
    for task in ("upright", "inverted"):
        assert mergefront(*options(pair.parent, task, kind, tmp_path / task)).code == 0
    manifest = pair.parent / f"study-{kind}.yaml"
    manifest.write_text(MANIFEST.replace("UPRIGHT", str(tmp_path / "upright")).replace("INVERTED", str(tmp_path / "inverted")))
    ran = mergefront("run", manifest, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert mergefront("merge", tmp_path / "run", "--at", "0.5,0.7", "--out", tmp_path / "merged").code == 0
    assert json.loads((tmp_path / "merged" / "adapter_config.json").read_text())["r"] == rank
    assert mergefront("merge", tmp_path / "run", "--at", "0.5,0.7", "--dense", "--out", tmp_path / "dense").code == 0
    merged, dense = (load_file(next((tmp_path / name).glob("*.safetensors"))) for name in ("merged", "dense"))
    base = load_file(pair.parent / "base.safetensors")
    change = merged["base_model.model.0.lora_B.weight"] @ merged["base_model.model.0.lora_A.weight"]
    assert float((dense["0.weight"] - base["0.weight"] - change).abs().max()) < 1e-6


def test_adapters_of_different_starts_are_refused_with_the_reason(pair, tmp_path):
    for task, seed in (("upright", 0), ("inverted", 1)):
        assert mergefront(*options(pair.parent, task, "llora", tmp_path / task, "--start-seed", seed)).code == 0
    manifest = pair.parent / "study-starts.yaml"
    manifest.write_text(MANIFEST.replace("UPRIGHT", str(tmp_path / "upright")).replace("INVERTED", str(tmp_path / "inverted")))
    ran = mergefront("run", manifest, "--out", tmp_path / "run")
    assert ran.code == 2 and "inverted and upright started from different A0" in ran.err
