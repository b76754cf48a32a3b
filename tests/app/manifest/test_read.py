from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import ManifestError
from app.domain.study import FactoryArchitecture, TransformersArchitecture, TransformSpec
from app.manifest.read import load_document, override, parse_manifest


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "digits",
        "models": {"base": "base.safetensors", "tuned": {"a": "a.safetensors", "b": "b.safetensors"}},
        "architecture": {"factory": "net.py:Net"},
        "tasks": {
            "one": {"data": "one.safetensors", "head": "heads.safetensors#one", "metric": "accuracy"},
            "two": {"data": "two.safetensors", "metric": "nll"},
        },
        **changes,
    }


def faults_of(changed: Mapping[str, Any]) -> dict[str, str]:
    return {fault.where: fault.problem for fault in parse_manifest(changed, Path("/sets"))[1]}


class TestGoodManifest:
    def test_paths_are_taken_from_the_folder_of_the_manifest(self) -> None:
        spec, faults = parse_manifest(document(), Path("/sets"))
        assert spec is not None and not faults
        assert spec.models.base == "/sets/base.safetensors"
        assert dict(spec.models.tuned) == {"a": "/sets/a.safetensors", "b": "/sets/b.safetensors"}
        assert spec.tasks[0].head == "/sets/heads.safetensors#one"
        assert spec.architecture == FactoryArchitecture("/sets/net.py", "Net")

    def test_ids_of_registered_things_stay_as_they_are(self) -> None:
        checkpoint = "ckpt_" + "0" * 26
        spec, _ = parse_manifest(document(models={"base": checkpoint, "tuned": {"a": "a", "b": "b"}}), Path("/sets"))
        assert spec is not None and spec.models.base == checkpoint

    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("none", TransformSpec()),
            ({"ties": {"density": 0.3}}, TransformSpec("ties", density=0.3)),
            ({"ties": {}}, TransformSpec("ties", density=0.2)),
            ({"dare": {"drop": 0.5, "seed": 7}}, TransformSpec("dare", drop=0.5, seed=7)),
            ({"magnitude": {"density": 0.1}}, TransformSpec("magnitude", density=0.1)),
        ],
    )
    def test_transforms(self, given: object, meant: TransformSpec) -> None:
        spec, faults = parse_manifest(document(transform=given), Path())
        assert spec is not None and not faults and spec.transform == meant

    def test_transformers_architecture(self) -> None:
        spec, _ = parse_manifest(document(architecture={"transformers": "AutoModel", "pooling": "cls", "normalize": True}), Path())
        assert spec is not None and spec.architecture == TransformersArchitecture("AutoModel", "cls", True)

    def test_groups(self) -> None:
        spec, _ = parse_manifest(document(space={"groups": ["stem", r"blocks\.\d"]}), Path())
        assert spec is not None and spec.space.groups == ("stem", r"blocks\.\d")


class TestFaults:
    def test_all_are_told_at_once_each_with_its_key(self) -> None:
        changed = document(metod={}, method={"budget": "60"}, space={"low": 1, "high": 0}, front={"points": 1}, transform={"tiez": {}})
        changed["tasks"]["one"]["metric"] = "acuracy"
        changed["models"]["tuned"]["a b"] = "c"
        assert set(faults_of(changed)) == {
            "metod", "method.budget", "space", "front.points", "transform.tiez", "tasks.one.metric", "models.tuned.a b",
        }

    def test_a_near_miss_is_named(self) -> None:
        assert "did you mean 'method'" in faults_of(document(metod={}))["metod"]
        changed = document()
        changed["tasks"]["one"]["metrik"] = "accuracy"
        assert "did you mean 'metric'" in faults_of(changed)["tasks.one.metrik"]

    def test_what_is_left_is_still_handed_on(self) -> None:
        spec, faults = parse_manifest(document(metod={}, method={"budget": -1}), Path("/sets"))
        assert len(faults) == 2
        assert spec is not None and spec.models.base == "/sets/base.safetensors"

    def test_one_tuned_model_only(self) -> None:
        assert "models.tuned" in faults_of(document(models={"base": "b", "tuned": {"a": "a"}}))

    @pytest.mark.parametrize("missing", ["name", "models", "architecture", "tasks"])
    def test_a_required_key_is_missing(self, missing: str) -> None:
        changed = document()
        del changed[missing]
        assert faults_of(changed) == {missing: "required, but missing"}

    @pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
    def test_empty_split(self, share: float) -> None:
        changed = document()
        changed["tasks"]["one"]["split"] = {"search": share}
        assert "tasks.one.split.search" in faults_of(changed)

    def test_overlapping_splits(self) -> None:
        changed = document()
        changed["tasks"]["one"]["split"] = {"search": 0.6, "report": 0.6}
        assert "share examples" in faults_of(changed)["tasks.one.split"]

    def test_both_kinds_of_architecture(self) -> None:
        assert "exactly one" in faults_of(document(architecture={"factory": "n.py:N", "transformers": "AutoModel"}))["architecture"]

    def test_a_group_that_is_no_pattern(self) -> None:
        assert "no regular expression" in faults_of(document(space={"groups": ["("]}))["space.groups"]

    def test_a_budget_below_the_free_parameters_of_the_quadratic(self) -> None:
        problem = faults_of(document(method={"surrogate": "quadratic", "budget": 5}))["method.budget"]
        assert "6" in problem


class TestFiles:
    def test_yaml_and_json_read_alike(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("name: x\nmodels: {base: b}\n")
        (tmp_path / "a.json").write_text('{"name": "x", "models": {"base": "b"}}')
        assert load_document(tmp_path / "a.yaml") == load_document(tmp_path / "a.json")

    @pytest.mark.parametrize("text", ["name: x\nname: y\n", "a: {b: 1, b: 2}\n", "[1, 2]", "", "a: [", "!!python/object:os.system {}"])
    def test_unreadable_documents_are_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(ManifestError):
            load_document(tmp_path / "a.yaml")

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ManifestError):
            load_document(tmp_path / "a.yaml")


class TestOverride:
    def test_values_are_yaml(self) -> None:
        changed = override(document(), ["method.budget=20", "space.groups=[stem]", "name=other"])
        assert changed["method"] == {"budget": 20}
        assert changed["space"] == {"groups": ["stem"]}
        assert changed["name"] == "other"

    @pytest.mark.parametrize("setting", ["method", "=3", "name.x=3", "method.budget=["])
    def test_malformed_settings_are_refused(self, setting: str) -> None:
        with pytest.raises(ManifestError):
            override(document(), [setting])

    def test_the_document_itself_is_not_changed(self) -> None:
        original = document()
        override(original, ["models.base=x"])
        assert original == document()


class TestMethod:
    def test_one_preference_is_a_set_of_one(self) -> None:
        spec, faults = parse_manifest(document(method={"name": "nested", "preference": {"one": 2.0, "two": 1.0}}), Path())
        assert spec is not None and spec.method.preferences == ({"one": 2.0, "two": 1.0},)

    def test_a_preference_and_preferences_exclude_each_other(self) -> None:
        weights = {"one": 1.0, "two": 1.0}
        assert "method" in faults_of(document(method={"name": "nested", "preference": weights, "preferences": [weights]}))

    def test_what_bayesian_needs_has_defaults(self) -> None:
        spec, _ = parse_manifest(document(method={"name": "bayesian", "acquisition": "bins"}), Path())
        assert spec is not None
        assert (spec.method.acquisition, spec.method.batch, spec.method.tolerance, spec.method.patience) == ("bins", 4, 1e-3, 3)
