"""`mergefront run` and `merge` with tangent adapters: the front is exact, and the merged adapter scores what it says."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.command_line import mergefront
from tests.tangent_set import write_tangents
from workers.adapters.tangent import load_tangent

METHOD = "method: {name: map, surrogate: quadratic, budget: 12, seed: 0}"


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 24), nn.Tanh())


@pytest.fixture(scope="module")
def tangents(pair, tmp_path_factory) -> Path:
    """The manifest of a study of two tangent adapters."""
    folder = pair.parent
    written = write_tangents(network(), folder / "base.safetensors", tmp_path_factory.mktemp("adapters"), ("upright", "inverted"), size=2.0)
    text = pair.read_text()
    for name, directory in written.items():
        text = text.replace(f"{name}: {name}.safetensors", f"{name}: {directory}")
    manifest = folder / "exact.yaml"
    assert METHOD in text
    manifest.write_text(text.replace(METHOD, "method: {name: exact}"))
    return manifest


@pytest.fixture(scope="module")
def finished_exact(tangents, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("exact") / "run"
    ended = mergefront("run", tangents, "--out", directory)
    assert ended.code == 0, ended.err
    return directory


class TestRun:
    def test_predicts_what_it_measures(self, finished_exact):
        front = json.loads((finished_exact / "front.json").read_text())
        verified = [point for point in front["points"] if point["search"]]
        assert verified
        for point in verified:
            assert {task: told["score"] for task, told in point["predicted"].items()} == pytest.approx(point["search"], abs=1e-6)
        assert front["evaluations"]["design:search"] == 3

    def test_is_refused_for_other_checkpoints(self, pair, tmp_path):
        ended = mergefront("run", pair, "--set", "method.name=exact", "--set", "method.surrogate=auto", "--out", tmp_path / "run")
        assert ended.code == 2
        assert "method.name: exact needs outputs that are affine in the coefficients" in " ".join(ended.err.split())


class TestMerge:
    def test_writes_one_adapter_that_scores_what_its_point_says(self, finished_exact, tangents, tmp_path):
        front = json.loads((finished_exact / "front.json").read_text())
        number = next(number for number, point in enumerate(front["points"]) if point["report"])
        ended = mergefront("merge", finished_exact, "--point", number, "--out", tmp_path / "merged")
        assert ended.code == 0, ended.err
        base = network()
        base.load_state_dict(load_file(tangents.parent / "base.safetensors"))
        model = load_tangent(base.eval(), tmp_path / "merged")
        heads = load_file(tangents.parent / "heads.safetensors")
        for task, measured in front["points"][number]["report"].items():
            data = load_file(tangents.parent / f"{task}-data.safetensors")
            with torch.no_grad():
                logits = nn.functional.linear(model(data["inputs"]), heads[f"{task}.weight"], heads[f"{task}.bias"])
            right = float((logits.argmax(1) == data["targets"]).double().mean())
            search = front["points"][number]["search"][task]
            # the data are both splits: 0.4 of them searched, 0.6 reported
            assert right == pytest.approx(0.4 * search + 0.6 * measured, abs=1e-6)

    def test_says_on_its_card_how_it_is_loaded(self, finished_exact, tmp_path):
        assert mergefront("merge", finished_exact, "--at", "0.3,0.6", "--out", tmp_path / "merged").code == 0
        card = (tmp_path / "merged" / "README.md").read_text()
        assert "written as tangent adapter" in card
        assert "load_tangent(network.eval(), directory)" in card

    def test_has_no_dense_form(self, finished_exact, tmp_path):
        ended = mergefront("merge", finished_exact, "--at", "0.3,0.6", "--dense", "--out", tmp_path / "merged")
        assert ended.code == 2
        assert "ask for the adapter" in " ".join(ended.err.split())
        assert not (tmp_path / "merged").exists()
