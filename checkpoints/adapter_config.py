"""What a PEFT adapter_config.json says about its factors, and which of PEFT's features we know how to merge."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoints.errors import LayoutError, MisfitError
from checkpoints.layout import TANGENT

# fields that change neither shape nor scale of a stored factor
_HARMLESS = frozenset(
    {
        "peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
        "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "lora_dropout",
        "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "fan_in_fan_out", "bias", "init_lora_weights",
        "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "velora_config", "runtime_config",
    }
)  # fmt: skip
# starts that leave the base's weights as they are; the others (pissa, olora, loftq, ...) train against another base
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class AdapterConfig:
    """Ranks and scales of a LoRA adapter, by module name; patterns are matched as PEFT does, at the end of the name.

    `base`: what the adapter calls the base that it was trained on.
    """

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rank_stabilised: bool
    fan_in_fan_out: bool
    base: str = ""

    def rank_of(self, module: str) -> int:
        return int(_matched(self.rank_pattern, module, self.rank))

    def scale_of(self, module: str) -> float:
        """s of DeltaW = s B A: alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA."""
        rank = self.rank_of(module)
        return float(_matched(self.alpha_pattern, module, self.alpha)) / (rank**0.5 if self.rank_stabilised else rank)


def read_adapter_config(path: Path) -> AdapterConfig:
    """Read one adapter_config.json.

    Raises LayoutError where it is no such file, MisfitError naming every feature (DoRA, biases, a start that changed the base,
    and whatever a later PEFT may add) that this adapter uses and that a merge of task vectors does not cover.
    """
    document = _read_object(path)
    faults = [f"{path}: {fault}" for fault in _faults(document)]
    if faults:
        raise MisfitError(faults[0], faults)
    return AdapterConfig(
        rank=document["r"],
        alpha=document["lora_alpha"],
        rank_pattern=document.get("rank_pattern") or {},
        alpha_pattern=document.get("alpha_pattern") or {},
        rank_stabilised=bool(document.get("use_rslora")),
        fan_in_fan_out=bool(document.get("fan_in_fan_out")),
        base=str(document.get("base_model_name_or_path") or ""),
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LayoutError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise LayoutError(f"{path}: must hold a JSON object")
    return document


def _faults(document: Mapping[str, Any]) -> Iterator[str]:
    kind = document.get("peft_type")
    if kind not in ("LORA", TANGENT):
        yield f"peft_type {kind!r} is not supported; only LORA adapters can be merged"
        return
    if document.get("bias", "none") != "none":
        yield f"bias {document['bias']!r} is not supported; train with bias none, or name the modules in modules_to_save"
    if document.get("init_lora_weights") not in _PLAIN_STARTS:
        yield f"init_lora_weights {document['init_lora_weights']!r} changes the base's weights; convert the adapter to plain LoRA first"
    for name in sorted(set(document) - _HARMLESS):
        if document[name]:
            yield f"{name} is not supported: a merge of task vectors does not cover it"
    for name, smallest in (("r", 1), ("lora_alpha", 0)):
        if not _is_number(document.get(name), smallest):
            yield f"{name} must be a number of at least {smallest}, got {document.get(name)!r}"
    for name, smallest in (("rank_pattern", 1), ("alpha_pattern", 0)):
        yield from _pattern_faults(name, document.get(name) or {}, smallest)


def _pattern_faults(name: str, pattern: Any, smallest: int) -> Iterator[str]:
    if not isinstance(pattern, dict):
        yield f"{name} must map module names to numbers, got {pattern!r}"
        return
    for key, value in pattern.items():
        if not _is_number(value, smallest):
            yield f"{name}.{key} must be a number of at least {smallest}, got {value!r}"
        try:
            re.compile(key)
        except re.error as error:
            yield f"{name}: {key!r} is no regular expression: {error}"


def _is_number(value: Any, smallest: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and smallest <= value < float("inf")


def _matched(pattern: Mapping[str, float], module: str, default: float) -> float:
    found = (value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module))
    return next(found, default)
