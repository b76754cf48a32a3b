"""Bad input through the command's own door: every fault told by its key, exit code 2, nothing written."""

import json
import shutil
import struct

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.command_line import finish, mergefront, start

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
EMPTY = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}


@pytest.fixture
def refused(study, tmp_path):
    """Runs the study, holds that it is refused and that nothing was written; the lines of its faults."""

    def run(*options, manifest=study):
        before = everything_in(tmp_path)
        ended = mergefront("run", manifest, "--out", tmp_path / "out", *options)
        assert ended.code == 2, ended
        assert ended.out == ""
        assert everything_in(tmp_path) == before
        title, *faults = ended.err.splitlines()
        assert title.startswith("refused (") and faults
        return [fault.strip() for fault in faults]

    return run


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}, {path for path in folder.rglob("*")}


@pytest.fixture
def rewrite(study):
    """rewrite(change): the manifest with `change` done to its document."""

    def written(change):
        document = yaml.safe_load(study.read_text())
        change(document)
        study.write_text(yaml.safe_dump(document))

    return written


@pytest.fixture
def resave(study):
    """resave(file, change): a safetensors file of the set with `change` done to its tensors."""

    def saved(file, change):
        tensors = load_file(study.with_name(file))
        change(tensors)
        save_file(tensors, study.with_name(file))

    return saved


class TestManifest:
    def test_a_misspelt_key_is_told_with_the_key_that_was_meant(self, rewrite, refused):
        rewrite(lambda document: document["method"].update(budgte=document["method"].pop("budget")))
        assert refused() == ["method.budgte: unknown key: did you mean 'budget'?"]

    def test_an_unknown_key_is_told_with_the_known_ones(self, rewrite, refused):
        rewrite(lambda document: document["front"].update(colour="red"))
        assert refused() == ["front.colour: unknown key; known here: points, verify, solver"]

    def test_an_unknown_key_on_the_command_line(self, refused):
        assert refused("--set", "tasks.upright.metrics=f1") == ["tasks.upright.metrics: unknown key: did you mean 'metric'?"]

    @pytest.mark.parametrize("setting", ["method.budget", "=3", "name.inner=3", "method.budget=[1"])
    def test_a_setting_that_is_none(self, refused, setting):
        assert refused("--set", setting)[0].startswith("--set: ")

    def test_a_manifest_that_is_missing(self, refused, tmp_path):
        assert refused(manifest=tmp_path / "none.yaml") == [f"{tmp_path}/none.yaml: no such file"]

    def test_a_directory_in_place_of_a_manifest(self, refused, tmp_path):
        assert refused(manifest=tmp_path) == [f"{tmp_path}: is a directory; name the manifest, a YAML or JSON file"]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [("name: [", "is not YAML"), ("- a\n- b\n", "a manifest is a mapping"), ("", "a manifest is a mapping"),
         ("name: a\nname: b\n", "'name' is given twice"), ("name: \x00", "is not YAML")],
    )  # fmt: skip
    def test_a_manifest_that_is_none(self, study, refused, text, problem):
        study.write_text(text)
        assert problem in " ".join(refused())

    def test_a_manifest_that_is_no_text(self, study, refused):
        study.write_bytes(b"\xff\xfe\x00")
        assert "cannot be read" in refused()[0]

    def test_a_name_that_would_leave_its_directory(self, refused):
        assert refused("--set", "name=../other")[0].startswith("name: ")

    @pytest.mark.parametrize("surrogate", ["quadratic", "auto"])
    def test_a_budget_below_the_need_is_told_with_the_need(self, refused, surrogate):
        [fault] = refused("--set", "method.budget=3", "--set", f"method.surrogate={surrogate}")
        assert fault.startswith("method.budget: 3 trials are too few") and "it needs " in fault

    def test_several_faults_are_told_at_once(self, rewrite, refused, tmp_path):
        def change(document):
            document["models"]["tuned"]["upright"] = "none.safetensors"
            document["tasks"]["inverted"].update(data="none.safetensors", metric="acuracy")
            document["space"] = {"low": 1.0, "high": 0.0}
            document["method"]["budget"] = 1
            document["colour"] = "red"

        rewrite(change)
        told = {fault.split(":")[0] for fault in refused()}
        assert told >= {"models.tuned.upright", "tasks.inverted.metric", "space", "method.budget", "colour"}


class TestModels:
    def test_a_missing_file(self, study, refused):
        study.with_name("upright.safetensors").unlink()
        [fault] = refused()
        assert fault.startswith(f"models.tuned.upright: {study.parent}/upright.safetensors: no such file or directory")

    def test_a_directory_without_weights(self, study, refused):
        study.with_name("empty").mkdir()
        [fault] = refused("--set", "models.tuned.upright=empty")
        assert fault.startswith("models.tuned.upright: ") and "holds no weights" in fault

    def test_an_architecture_that_is_not_that_of_the_weights(self, study, refused):
        study.with_name("net.py").write_text("from torch import nn\n\n\ndef Net():\n    return nn.Linear(64, 24)\n")
        faults = refused()
        assert "architecture: the base lacks 2 tensors that the module has: weight, bias" in faults
        assert "architecture: the module lacks 2 tensors that the base has: 0.bias, 0.weight" in faults

    def test_a_factory_that_fails(self, study, refused):
        study.with_name("net.py").write_text("import nothing_of_this_name\n")
        assert any(fault.startswith("architecture.factory: ") and "nothing_of_this_name" in fault for fault in refused())

    def test_shapes_that_do_not_fit_are_all_told(self, resave, refused):
        resave("inverted.safetensors", lambda tensors: tensors.update({"0.weight": torch.ones(24, 63), "0.bias": torch.ones(23)}))
        faults = refused()
        assert any("0.weight" in fault and "[24, 63]" in fault for fault in faults)
        assert any("0.bias" in fault and "[23]" in fault for fault in faults)

    def test_one_tuned_model_only(self, rewrite, refused):
        rewrite(lambda document: document["models"]["tuned"].pop("inverted"))
        [fault] = refused()
        assert fault.startswith("models.tuned: ") and "at least 2" in fault

    def test_the_same_model_twice(self, study, refused):
        shutil.copy(study.with_name("upright.safetensors"), study.with_name("inverted.safetensors"))
        assert refused() == ["models.tuned: upright and inverted hold the same weights; name each tuned checkpoint once"]

    def test_a_base_that_is_a_tuned_model_too(self, study, refused):
        shutil.copy(study.with_name("base.safetensors"), study.with_name("inverted.safetensors"))
        [fault] = refused()
        assert "inverted: holds the base's own weights" in fault

    @pytest.mark.parametrize(("file", "key"), [("base", "models.base"), ("upright", "models.tuned.upright")])
    def test_weights_that_are_not_finite(self, resave, refused, file, key):
        resave(f"{file}.safetensors", lambda tensors: tensors["0.weight"][0, :2].copy_(torch.tensor([torch.nan, torch.inf])))
        assert f"{key}: 0.weight: 2 of 1536 values are NaN or infinite" in refused()


class TestTasks:
    def test_a_missing_file(self, refused):
        [fault] = refused("--set", "tasks.upright.data=none.safetensors")
        assert fault.startswith("tasks.upright.data: no such file: ")

    def test_data_without_targets(self, resave, refused):
        resave("upright-data.safetensors", lambda tensors: tensors.pop("targets"))
        assert refused() == ["tasks.upright.data: no targets, which accuracy needs: add a tensor `targets` or a column `label`"]

    def test_labels_outside_the_head(self, resave, refused):
        resave("upright-data.safetensors", lambda tensors: tensors["targets"][:2].copy_(torch.tensor([10, -1])))
        assert refused() == ["tasks.upright.data: labels -1, 10 lie outside the head of 10 rows (labels 0 to 9)"]

    def test_a_head_that_is_not_there(self, refused):
        [fault] = refused("--set", "tasks.upright.head=heads.safetensors#upwards")
        assert fault.startswith("tasks.upright.head: ") and "heads in it: inverted, upright" in fault

    @pytest.mark.parametrize("split", ["search", "report"])
    def test_an_empty_split(self, refused, split):
        assert refused("--set", f"tasks.upright.split.{split}=0.0001") == [
            f"tasks.upright.split.{split}: leaves no example of 300: raise this share or give more data"
        ]


def raw(header, data=b"\0" * 8):
    return struct.pack("<Q", len(header)) + header + data


def headed(fields, data=b"\0" * 8):
    return raw(json.dumps(fields).encode(), data)


HOSTILE = {
    "a header of 59 MB": (lambda: raw(headed({"__metadata__": {"a": "x" * 59_000_000}})[8:], b""), "exceeds the limit"),
    "a length beyond all": (lambda: struct.pack("<Q", 2**63) + b"{}", "exceeds the limit"),
    "too many tensors": (lambda: headed({str(number): EMPTY for number in range(100_001)}, b""), "exceed the limit"),
    "a key twice": (lambda: raw(f'{{"a": {json.dumps(ENTRY)}, "a": {json.dumps(ENTRY)}}}'.encode()), "appears twice"),
    "a path as a name": (lambda: headed({"../a": ENTRY}), "looks like a path"),
    "a NUL in a name": (lambda: headed({"a\0": ENTRY}), "cannot be printed"),
    "a shape beyond 64 bits": (lambda: headed({"a": ENTRY | {"shape": [0, 2**62], "data_offsets": [0, 0]}}, b""), "shape"),
    "a hole": (lambda: headed({"a": ENTRY | {"data_offsets": [8, 16]}}, b"\0" * 16), "hole"),
    "an overlap": (lambda: headed({"a": ENTRY, "b": ENTRY | {"data_offsets": [4, 12]}}, b"\0" * 12), "overlaps"),
    "no JSON": (lambda: raw(b"[" * 100_000), "not JSON"),
    "no header": (lambda: b"", "truncated"),
    "bytes of nobody": (lambda: headed({"a": ENTRY}, b"\0" * 9), "belong to none"),
}


class TestHostileWeights:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_header_that_breaks_the_rules(self, study, refused, name):
        make, problem = HOSTILE[name]
        study.with_name("upright.safetensors").write_bytes(make())
        [fault] = refused()
        assert fault.startswith(f"models.tuned.upright: {study.parent}/upright.safetensors: ") and problem in fault

    @pytest.mark.parametrize("kept", [4, 40, 500, -1])
    def test_a_truncated_file(self, study, refused, kept):
        file = study.with_name("base.safetensors")
        file.write_bytes(file.read_bytes()[:kept])
        assert any(fault.startswith("models.base: ") and "truncated" in fault for fault in refused())

    @pytest.mark.parametrize("key", ["tasks.upright.data", "tasks.upright.head"])
    def test_data_and_heads_are_held_to_the_same_rules(self, study, refused, key):
        study.with_name("hostile.safetensors").write_bytes(headed({"../a": ENTRY}))
        value = "hostile.safetensors#upright" if key.endswith("head") else "hostile.safetensors"
        [fault] = refused("--set", f"{key}={value}")
        assert fault.startswith(f"{key}: ") and "looks like a path" in fault

    @pytest.mark.parametrize("suffix", [".bin", ".pt"])
    def test_pickles_are_refused_with_the_way_to_convert(self, study, refused, suffix):
        torch.save({"0.weight": torch.ones(24, 64)}, study.with_name(f"pickled{suffix}"))
        [fault] = refused("--set", f"models.tuned.upright=pickled{suffix}")
        assert fault.startswith("models.tuned.upright: ")
        assert "save_pretrained" in fault and "safetensors.torch.save_file(torch.load(FILE, weights_only=True)" in fault

    def test_a_directory_of_pickles_and_a_pickle_in_disguise(self, study, refused):
        study.with_name("old").mkdir()
        torch.save({}, study.parent / "old" / "pytorch_model.bin")
        torch.save({}, study.with_name("inverted.safetensors"))
        faults = refused("--set", "models.tuned.upright=old")
        assert [fault.split(":")[0] for fault in faults] == ["models.tuned.upright", "models.tuned.inverted"]
        assert "save_pretrained" in faults[0] and "save_file" in faults[1]


class TestOutput:
    @pytest.mark.parametrize("below", ["", "run", "run/deep"])
    def test_a_place_that_cannot_be_written(self, study, tmp_path, below):
        (tmp_path / "file").write_text("mine")
        ended = mergefront("run", study, "--out", tmp_path / "file" / below)
        assert ended.code == 2
        assert "--out: " in ended.err and "cannot be written" in ended.err
        assert (tmp_path / "file").read_text() == "mine"

    def test_is_told_beside_the_faults_of_the_manifest(self, study, tmp_path):
        (tmp_path / "file").write_text("mine")
        ended = mergefront("run", study, "--out", tmp_path / "file", "--set", "method.budgte=3")
        assert ended.code == 2
        assert "--out: " in ended.err and "method.budgte: " in ended.err


class TestProcess:
    """The same as a process of its own: what the shell sees."""

    def test_faults_go_to_standard_error_with_code_2(self, study, tmp_path):
        ended = finish(start("run", study, "--out", tmp_path / "out", "--set", "method.budgte=3"))
        assert ended.code == 2
        assert ended.out == ""
        assert ended.err == "refused (manifest)\n  method.budgte: unknown key: did you mean 'budget'?\n"
        assert not (tmp_path / "out").exists()

    def test_an_option_that_does_not_exist(self, study):
        ended = mergefront("run", study, "--outt", "x")
        assert ended.code == 2 and "--outt" in ended.err

    def test_a_device_that_is_not_there(self, study, tmp_path):
        ended = mergefront("run", study, "--device", "abacus", "--out", tmp_path / "out")
        assert ended.code == 2 and "--device" in ended.err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("memory", ["-1", "nan", "inf"])
    def test_memory_that_is_none(self, study, tmp_path, memory):
        ended = mergefront("run", study, "--memory", memory, "--out", tmp_path / "out")
        assert ended.code == 2 and "--memory: " in ended.err
        assert not (tmp_path / "out").exists()
