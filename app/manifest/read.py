"""Reads study manifests: YAML or JSON text in, a study spec or every fault at once out."""

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from app.domain.errors import Fault, ManifestError
from app.domain.study import StudySpec
from app.manifest.faults import shape_faults, without
from app.manifest.rules import rule_faults
from app.manifest.schema import ManifestShape
from app.manifest.translate import translate


class _Loader(yaml.SafeLoader):
    """YAML without surprises: a key given twice is refused instead of silently winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                line = node.value[place][0].start_mark.line + 1
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice, again in line {line}")
        return super().construct_mapping(node, deep)


def parse_document(text: str) -> Any:
    """The plain values of a YAML (or JSON) text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader


def load_document(path: Path) -> dict[str, Any]:
    """The manifest file as plain values. Raises ManifestError when it is no readable mapping."""
    try:
        document = parse_document(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError([Fault("", f"{path}: cannot be read: {error}")]) from error
    except yaml.YAMLError as error:
        raise ManifestError([Fault("", f"{path}: is not YAML: {error}")]) from error
    if not isinstance(document, dict):
        raise ManifestError([Fault("", f"{path}: a manifest is a mapping of keys; see `mergefront run --help`")])
    return document


def override(document: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The document with `a.b=value` settings applied, values read as YAML. Raises ManifestError on a malformed setting."""
    changed: dict[str, Any] = json.loads(json.dumps(document, default=str))
    for setting in settings:
        keys, mark, value = setting.partition("=")
        if not mark or not keys:
            raise ManifestError([Fault("--set", f"expected key.path=value, got {setting!r}")])
        _assign(changed, keys.split("."), _value_of(setting, value))
    return changed


def _value_of(setting: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ManifestError([Fault("--set", f"{setting!r}: the value is not YAML: {error}")]) from error


def _assign(document: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ManifestError([Fault("--set", f"{'.'.join(keys)}: {key!r} is no mapping")])
        document = inner
    document[keys[-1]] = value


def parse_manifest(document: Mapping[str, Any], folder: Path) -> tuple[StudySpec | None, list[Fault]]:
    """The spec a document states, and the faults of its shape.

    With faults, the spec is what remains when the faulty keys are left out (None when too little remains),
    so that its files can be checked too and everything is told at once. Relative paths are taken from `folder`.
    """
    faults: list[Fault] = []
    remaining = dict(document)
    for _ in range(3):
        try:
            spec = translate(ManifestShape.model_validate(remaining), folder)
            if spec.architecture is None and spec.tasks_here:
                missing = Fault("architecture", "required, but missing")
                return None, faults if _told(faults, missing) else [*faults, missing]
            return spec, [*faults, *rule_faults(spec)]
        except ValidationError as error:
            faults += [fault for fault in shape_faults(error) if not _told(faults, fault)]
            remaining = without(remaining, error)
    return None, faults


def _told(faults: Sequence[Fault], fault: Fault) -> bool:
    """A key dropped for its fault is missing in the next look: that is no second fault."""
    return any(old.where == fault.where or old.where.startswith(fault.where + ".") for old in faults)
