"""Adapters that our own training makes: read, held against each other, merged where their start A0 is one, and written.

Linearised at (A0, B = 0), adapters of one A0 add up: sum c_n s_n B_n A0 = (sum c_n s_n B_n) A0 keeps the rank r.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from checkpoints.adapter_config import read_adapter_config
from checkpoints.adapter_metadata import AdapterMetadata, digest_tensors, read_metadata
from checkpoints.adapters import PREFIX
from checkpoints.errors import LayoutError, MisfitError, NotFiniteError
from checkpoints.layout import ADAPTER, ADAPTER_CONFIG, TANGENT, open_layout
from checkpoints.pack import pack_tensors
from checkpoints.read import MappedTensors

_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, eq=False)
class LinearisedAdapter:
    """DeltaW = scale * B A of every adapted layer, as PEFT lays the factors out.

    `a`, `b`: by layer; r x in (x height x width) and out x r (x 1 x 1), float32. `alpha` / `rank` is the scale. `private`: parameters
    of a head inside the network. `transposed`: all layers store their weight input first. `base`: where the base lay in training.
    """

    metadata: AdapterMetadata
    rank: int
    alpha: float
    a: Mapping[str, Tensor]
    b: Mapping[str, Tensor]
    private: Mapping[str, Tensor] = field(default_factory=dict)
    transposed: bool = False
    base: str = ""

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def files(self) -> dict[str, bytes]:
        """The adapter's directory: both files by name."""
        tensors = {f"{PREFIX}{layer}{_A}": factor for layer, factor in self.a.items()}
        tensors |= {f"{PREFIX}{layer}{_B}": factor for layer, factor in self.b.items()}
        tensors |= {f"{PREFIX}{name}": tensor for name, tensor in self.private.items()}
        config = json.dumps(self.config(), indent=2, sort_keys=True) + "\n"
        return {ADAPTER: pack_tensors(tensors, self.metadata.texts()), ADAPTER_CONFIG: config.encode()}

    def config(self) -> dict[str, Any]:
        """What belongs into adapter_config.json."""
        return {
            "peft_type": TANGENT if self.metadata.kind == "tangent" else "LORA",
            "base_model_name_or_path": self.base,
            "bias": "none",
            "fan_in_fan_out": self.transposed,
            "inference_mode": True,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "modules_to_save": sorted({name.rpartition(".")[0] for name in self.private}) or None,
            "r": self.rank,
            "target_modules": sorted(self.a),
            "task_type": None,
        }


def read_linearised(directory: Path) -> LinearisedAdapter:
    """The adapter in `directory`, without its base. The factors are views of the file.

    Raises LayoutError (no adapter, or none of ours), MisfitError (factors that make no pair, or do not have the stated rank; an A that
    is not the A0 of the stated digest), NotFiniteError.
    """
    layout = open_layout(directory)
    metadata = read_metadata(layout) if layout.kind != "full" else None
    if metadata is None:
        raise LayoutError(f"{directory}: holds no adapter that `mergefront finetune` made")
    config = read_adapter_config(layout.root / ADAPTER_CONFIG)
    mapped = MappedTensors(layout)
    tensors = {name.removeprefix(PREFIX): mapped.tensor(name) for name in layout.tensors}
    a, b = _factors(tensors, _A), _factors(tensors, _B)
    private = {name: tensor for name, tensor in tensors.items() if not name.endswith((_A, _B))}
    adapter = LinearisedAdapter(metadata, config.rank, config.alpha, a, b, private, config.fan_in_fan_out, config.base)
    _check(directory, adapter)
    return adapter


def _factors(tensors: Mapping[str, Tensor], end: str) -> dict[str, Tensor]:
    return {name.removesuffix(end): tensor for name, tensor in tensors.items() if name.endswith(end)}


def _check(directory: Path, adapter: LinearisedAdapter) -> None:
    faults = [f"{directory}: {layer}: needs one factor A and one factor B" for layer in sorted(adapter.a.keys() ^ adapter.b.keys())]
    pairs = {layer: (adapter.a[layer], adapter.b[layer]) for layer in adapter.a.keys() & adapter.b.keys()}
    for layer, (a, b) in pairs.items():
        if a.ndim < 2 or b.ndim != a.ndim or a.shape[0] != adapter.rank or tuple(b.shape[1:]) != (adapter.rank, *(1,) * (b.ndim - 2)):
            faults.append(f"{directory}: {layer}: factors of {tuple(a.shape)} and {tuple(b.shape)} are not of rank {adapter.rank}")
    if not pairs:
        faults.append(f"{directory}: holds no factors")
    if adapter.metadata.kind != "lora" and digest_tensors(adapter.a) != adapter.metadata.a0:
        faults.append(f"{directory}: its factors A are not the start that its metadata names; only B may change in training")
    if faults:
        raise MisfitError(faults[0], faults)
    broken = [f"{directory}: {name}: holds NaN or infinity" for name, tensor in {**adapter.a, **adapter.b}.items() if not _finite(tensor)]
    if broken:
        raise NotFiniteError(broken[0], broken)


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def start_faults(metadata: Mapping[str, AdapterMetadata]) -> list[str]:
    """What keeps adapters from one merge, as sentences; `metadata` by the adapter's name.

    Linearised adapters must share A0, all must share the base, and tangent ones go with tangent ones alone.
    """
    faults = _differing({name: one.base for name, one in metadata.items()}, "were trained on different bases")
    starts = {name: one.a0 for name, one in metadata.items() if one.kind != "lora"}
    advice = "started from different A0 and span different spaces: train them with one seed, one rank and the same targets"
    faults += _differing(starts, advice)
    tangent = [name for name, one in metadata.items() if one.kind == "tangent"]
    if tangent and len(tangent) < len(metadata):
        others = ", ".join(name for name in metadata if name not in tangent)
        faults.append(f"{', '.join(tangent)}: linearised through the whole network, which {others} is not; they have no merge in common")
    return faults


def _differing(digests: Mapping[str, str], problem: str) -> list[str]:
    first = next(iter(digests), None)
    others = [name for name, digest in digests.items() if digest != digests[first]] if first is not None else []
    return [f"{', '.join(others)} and {first} {problem}"] if others else []


def merge_linearised(adapters: Mapping[str, LinearisedAdapter], coefficients: Sequence[float]) -> LinearisedAdapter:
    """The adapter of sum c_n (s_n B_n) A0: one rank, the same A0, scale 1; heads stay with their tasks. Summed in float64.

    `adapters`: by name, in the order of `coefficients`. Raises MisfitError where one is ordinary LoRA, or A0, base or kind differ.
    """
    if len(adapters) != len(coefficients) or not all(map(math.isfinite, coefficients)):
        raise MisfitError(f"{len(adapters)} adapters need as many finite coefficients, got {list(coefficients)}")
    ordinary = [name for name, adapter in adapters.items() if adapter.metadata.kind == "lora"]
    faults = [f"{name}: its A trained, so that its B has no meaning beside another A" for name in ordinary]
    faults += start_faults({name: adapter.metadata for name, adapter in adapters.items()})
    if faults:
        raise MisfitError(faults[0], faults)
    first, *_ = adapters.values()
    shares = [(adapter, coefficient * adapter.scale) for adapter, coefficient in zip(adapters.values(), coefficients, strict=True)]
    b = {layer: _weighted([(adapter.b[layer], share) for adapter, share in shares]) for layer in first.b}
    metadata = AdapterMetadata(first.metadata.kind, first.metadata.base, first.metadata.a0, first.metadata.seed)
    return LinearisedAdapter(metadata, first.rank, float(first.rank), first.a, b, {}, first.transposed, first.base)


def _weighted(parts: Sequence[tuple[Tensor, float]]) -> Tensor:
    head, *rest = (factor.double() * share for factor, share in parts)
    for part in rest:
        head += part
    return head.float()
