"""`mergefront merge`: which merge is written, and that the weights are those."""

import csv
import re
import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from tests.command_line import mergefront

TUNED = ("upright", "inverted")


@pytest.fixture
def merge(finished, tmp_path):
    """Runs the merge into a directory of its own, holds that it succeeded; what it printed."""

    def run(*options, source=finished):
        ended = mergefront("merge", source, *options, "--out", tmp_path / "merged")
        assert ended.code == 0, ended.err
        return ended.out

    return run


@pytest.fixture
def refused(finished, tmp_path):
    """Runs the merge, holds that it is refused and writes nothing; what it says of it."""

    def run(*options, source=finished):
        ended = mergefront("merge", source, *options, "--out", tmp_path / "merged")
        assert ended.code == 2 and ended.out == ""
        assert list(tmp_path.glob("*merged*")) == []
        return ended.err

    return run


def reference(folder, coefficients):
    """The merge in float64, rounded once."""
    base, *tuned = (load_file(folder / f"{name}.safetensors") for name in ("base", *TUNED))
    return {
        name: (
            theta.astype(np.float64)
            + sum(c * (one[name].astype(np.float64) - theta) for c, one in zip(coefficients, tuned, strict=True))
        ).astype(np.float32)
        for name, theta in base.items()
    }


def assert_merged(file, folder, coefficients):
    found, expected = load_file(file), reference(folder, coefficients)
    assert found.keys() == expected.keys()
    for name, theta in expected.items():
        assert found[name].dtype == theta.dtype and found[name].shape == theta.shape
        assert np.mean(found[name] == theta) >= 0.9999
        assert (np.abs(found[name] - theta) <= np.spacing(np.abs(theta))).all()


def scores(line, printed):
    [found] = re.findall(rf"^  {line}: (.*)$", printed, re.MULTILINE)
    return {task: float(score) for task, score in re.findall(r"(\w+) (\S+?)(?:,|$)", found)}


def coefficients_of(printed):
    [found] = re.findall(r": upright (\S+), inverted (\S+)$", printed.splitlines()[0])
    return tuple(map(float, found))


class TestWhichMerge:
    def test_by_coefficients(self, merge, pair, tmp_path):
        merge("--at", "0.3,0.7")
        assert_merged(tmp_path / "merged" / "base.safetensors", pair.parent, (0.3, 0.7))

    def test_by_coefficients_of_a_study_that_was_never_run(self, merge, pair, tmp_path):
        merge("--at", "0.3,-0.7", source=pair)
        assert_merged(tmp_path / "merged" / "base.safetensors", pair.parent, (0.3, -0.7))

    def test_by_the_number_of_a_point(self, merge, finished, pair, tmp_path):
        rows = list(csv.DictReader((finished / "front.csv").read_text().splitlines()))
        number, row = next((number, row) for number, row in enumerate(rows) if row["search:upright"])
        printed = merge("--point", number)
        assert_merged(tmp_path / "merged" / "base.safetensors", pair.parent, [float(row[f"c:{name}"]) for name in TUNED])
        assert scores("predicted", printed) == {task: round(float(row[f"predicted:{task}"]), 4) for task in TUNED}
        assert scores("search split", printed) == {task: round(float(row[f"search:{task}"]), 4) for task in TUNED}

    def test_by_preference(self, merge, tmp_path):
        one = scores("predicted", merge("--prefer", "upright=1"))
        other = scores("predicted", merge("--prefer", "inverted=5,upright=1", "--force"))
        assert one["upright"] > other["upright"] and one["inverted"] < other["inverted"]

    def test_by_a_bound_and_what_to_maximise(self, merge):
        bounded = scores("predicted", merge("--require", "upright>=0.6", "--maximize", "inverted"))
        free = scores("predicted", merge("--maximize", "inverted", "--force"))
        assert bounded["upright"] >= 0.6 - 1e-4 > free["upright"]
        assert bounded["inverted"] < free["inverted"]

    def test_the_balanced_one_by_default(self, merge, pair, tmp_path):
        printed = merge()
        assert "balanced" in printed
        found = scores("predicted", printed)
        assert abs(found["upright"] - found["inverted"]) < 0.1
        assert all(0 < value < 1 for value in coefficients_of(printed))

    def test_the_balanced_one_within_bounds(self, merge):
        assert scores("predicted", merge("--require", "upright>=0.8"))["upright"] >= 0.8 - 1e-4

    def test_groups_have_their_own_coefficients(self, merge, study, pair, tmp_path):
        study.write_text(study.read_text().replace("budget: 12", "budget: 20") + "space: {groups: ['[.]weight', '[.]bias']}\n")
        printed = merge("--at", "0.3,0,0.7,0", source=study)
        assert ": upright:[.]weight 0.3, upright:[.]bias 0, inverted:[.]weight 0.7, inverted:[.]bias 0" in printed
        found, expected = load_file(tmp_path / "merged" / "base.safetensors"), reference(pair.parent, (0.3, 0.7))
        assert np.array_equal(found["0.weight"], expected["0.weight"])
        assert np.array_equal(found["0.bias"], load_file(pair.with_name("base.safetensors"))["0.bias"])


class TestRefusals:
    def test_a_bound_that_nothing_meets_is_told_with_the_best(self, refused):
        said = refused("--require", "upright>=0.999", "--maximize", "inverted")
        best = float(re.search(r"upright >= 0.999 \(best reachable (\S+)\)", said)[1])
        assert 0.5 < best < 0.999

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (("--point", "77"), "--point: no point 77: the front has 0 to 9"),
            (("--point", "-1"), "--point: no point -1"),
            (("--at", "0.3"), "--at: 1 coefficients given, 2 needed: upright, inverted"),
            (("--at", "0.3,nan"), "--at: 'nan' is not finite"),
            (("--prefer", "upwards=1"), "--prefer: no task is called 'upwards'; there are upright, inverted"),
            (("--maximize", "upwards"), "--maximize: no task is called 'upwards'; there are upright, inverted"),
            (("--require", "upright>0.5"), "--require: expected task>=score or task<=score, got 'upright>0.5'"),
            (("--at", "0.3,0.7", "--point", "3"), "--point: names another merge than --at: give one of them"),
            (("--at", "0.3,0.7", "--require", "upright>=0.5"), "--require: bounds choose a merge, --at names one"),
        ],
    )
    def test_wishes_that_name_no_merge(self, refused, options, problem):
        assert problem in refused(*options)

    def test_neither_weights_nor_recipe_asked_for(self, finished):
        ended = mergefront("merge", finished, "--at", "0.3,0.7")
        assert ended.code == 2 and "--out: name the directory" in ended.err

    def test_a_directory_without_a_run(self, refused, tmp_path):
        assert "holds no run; `mergefront run STUDY.yaml --out" in refused(source=tmp_path / "none")

    def test_a_point_of_a_study_that_was_never_run(self, refused, pair, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "runs/tiny holds no run" in refused("--point", "0", source=pair)

    def test_a_manifest_with_faults(self, refused, study):
        study.write_text(study.read_text() + "colour: red\n")
        assert "colour: unknown key" in refused("--at", "0.3,0.7", source=study)


class TestOut:
    def test_a_directory_that_holds_something_is_kept_unless_it_may_be_replaced(self, finished, pair, tmp_path):
        (tmp_path / "merged").mkdir()
        (tmp_path / "merged" / "mine.txt").write_text("mine")
        command = ("merge", finished, "--at", "0.3,0.7", "--out", tmp_path / "merged")
        ended = mergefront(*command)
        assert ended.code == 2 and "is not empty" in ended.err
        assert [path.name for path in (tmp_path / "merged").iterdir()] == ["mine.txt"]
        assert mergefront(*command, "--force").code == 0
        assert sorted(path.name for path in (tmp_path / "merged").iterdir()) == ["README.md", "base.safetensors"]

    @pytest.mark.parametrize("place", ["file", "file/merged"])
    def test_a_place_that_cannot_be_written(self, finished, tmp_path, place):
        (tmp_path / "file").write_text("mine")
        ended = mergefront("merge", finished, "--at", "0.3,0.7", "--out", tmp_path / place)
        assert ended.code == 2 and str(tmp_path / place) in ended.err
        assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"

    def test_the_card_says_how_to_make_the_merge_again(self, merge, finished, tmp_path):
        merge("--point", "0")
        card = (tmp_path / "merged" / "README.md").read_text()
        command = re.search(r"mergefront merge (\S+) --at (\S+) --out MERGED", card)
        ended = mergefront("merge", command[1], "--at", command[2], "--out", tmp_path / "again")
        assert ended.code == 0, ended.err
        first, second = ((tmp_path / name / "base.safetensors").read_bytes() for name in ("merged", "again"))
        assert first == second
        assert {task["metric"] for task in yaml.safe_load((finished / "front.json").read_text())["tasks"]} == {"accuracy"}
        assert "accuracy" in card

    @pytest.mark.parametrize("place", [".", "set", "run", "run/state"])
    def test_what_the_merge_is_made_from_is_never_replaced(self, study, finished, tmp_path, monkeypatch, place):
        shutil.copytree(finished, tmp_path / "run")
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        source = study if place == "set" else tmp_path / "run"
        ended = mergefront("merge", source, "--at", "0.3,0.7", "--out", place, "--force")
        assert ended.code == 2 and "must not be replaced" in ended.err
        assert sorted(tmp_path.rglob("*")) == before


class TestRecipe:
    def test_weights_that_mergekit_cannot_read_are_refused(self, refused, tmp_path):
        said = refused("--at", "0.3,0.7", "--recipe", tmp_path / "recipe.yaml")
        assert "no directory with config.json" in said
        assert not (tmp_path / "recipe.yaml").exists()
