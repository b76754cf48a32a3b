"""A merge of adapters as one PEFT adapter: exact at the sum of the ranks, or cut to a smaller one with the error stated."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from checkpoints.adapters import PREFIX, AdapterSource, LowRank, factor_shapes
from checkpoints.errors import ExportError
from checkpoints.groups import Coefficients
from checkpoints.layout import ADAPTER, ADAPTER_CONFIG
from checkpoints.model_set import ModelSet


@dataclass(frozen=True)
class MergedAdapter:
    """DeltaW(c) = sum of c_n s_n B_n A_n as one adapter. `base`: where the base lies.

    `factors`: by module, scale 1, float32. `shapes`: of the base's tensors there. `saved`: tensors of modules_to_save, merged
    whole, in the base's dtype. `errors`: by module, |DeltaW - exported| / |DeltaW| in the Frobenius norm, where it was cut.
    """

    base: str
    factors: Mapping[str, LowRank]
    shapes: Mapping[str, tuple[int, ...]]
    saved: Mapping[str, Tensor]
    errors: Mapping[str, float]

    def tensors(self) -> dict[str, Tensor]:
        """What belongs into adapter_model.safetensors."""
        factors = (item for module, factor in self.factors.items() for item in _keyed(module, factor, self.shapes[module]))
        return {f"{PREFIX}{key}": tensor.contiguous() for key, tensor in (*factors, *self.saved.items())}

    def files(self) -> dict[str, bytes]:
        """The PEFT directory: both files by name."""
        config = json.dumps(self.config(), indent=2, sort_keys=True) + "\n"
        return {ADAPTER_CONFIG: config.encode(), ADAPTER: save(self.tensors(), metadata={"format": "pt"})}

    def config(self) -> dict[str, Any]:
        """What belongs into adapter_config.json. alpha equals the rank of every module, so that PEFT scales by 1."""
        ranks = {module: factor.rank for module, factor in self.factors.items()}
        usual = Counter(ranks.values()).most_common(1)[0][0]
        pattern = {f"^{re.escape(module)}": rank for module, rank in ranks.items() if rank != usual}
        return {
            "peft_type": "LORA",
            "base_model_name_or_path": self.base,
            "bias": "none",
            "fan_in_fan_out": any(factor.form == "transposed" for factor in self.factors.values()),
            "inference_mode": True,
            "lora_alpha": usual,
            "alpha_pattern": pattern,
            "lora_dropout": 0.0,
            "modules_to_save": sorted({key.rpartition(".")[0] for key in self.saved}) or None,
            "r": usual,
            "rank_pattern": pattern,
            "target_modules": sorted(ranks),
            "task_type": None,
        }


def stack_adapters(models: ModelSet, coefficients: Coefficients) -> MergedAdapter:
    """The merge at `coefficients` with every module's factors stacked: rank at most sum r_n, the same DeltaW; rank r where all share A.

    Tensors that an adapter stores whole (modules_to_save) are merged whole; task-private ones stay with their tasks.
    Raises ExportError where a tuned checkpoint is no adapter, or nothing but the base is left at these coefficients.
    """
    adapters = _adapters(models)
    saved = {tensor for adapter in adapters for tensor in adapter.saved}
    factors: dict[str, LowRank] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in models.sizes:
        scaled = _scaled(adapters, tensor, coefficients.of(tensor)) if tensor not in saved else []
        if scaled:
            module = _module(tensor, adapters)
            factors[module], shapes[module] = _stacked(scaled), models.base.layout.entry(tensor).shape
    if not factors:
        raise ExportError("at these coefficients no adapter has a share in the merge; it is the base itself")
    whole = {
        _module(tensor, adapters, saved=True): _merged_whole(models, tensor, coefficients) for tensor in models.sizes if tensor in saved
    }
    return MergedAdapter(str(models.base.layout.root), factors, shapes, whole, {})


def cut_rank(adapter: MergedAdapter, rank: int) -> MergedAdapter:
    """The best approximation of every module's DeltaW at `rank` or below (truncated SVD in float64), with the errors made."""
    if rank < 1:
        raise ExportError(f"an adapter needs a rank of at least 1, got {rank}")
    cut = {module: _truncate(factor, rank) for module, factor in adapter.factors.items()}
    factors = {module: factor for module, (factor, _) in cut.items()}
    return replace(adapter, factors=factors, errors={module: error for module, (_, error) in cut.items()})


def _adapters(models: ModelSet) -> tuple[AdapterSource, ...]:
    adapters = [source for source in models.sources.values() if isinstance(source, AdapterSource)]
    full = [f"{name} is no adapter" for name, source in models.sources.items() if not isinstance(source, AdapterSource)]
    if full:
        raise ExportError(f"a merge can be written as an adapter where all its tuned checkpoints are: {', '.join(full)}", full)
    return tuple(adapters)


def _scaled(adapters: Iterable[AdapterSource], tensor: str, coefficients: Sequence[float]) -> list[LowRank]:
    found = ((adapter.factors.get(tensor), coefficient) for adapter, coefficient in zip(adapters, coefficients, strict=True))
    return [replace(factor, scale=factor.scale * coefficient) for factor, coefficient in found if factor and coefficient]


def _stacked(factors: Sequence[LowRank]) -> LowRank:
    first, *others = factors
    # linearised adapters share one factor, the start A0: the others add up, at the same rank
    if all(torch.equal(first.right, other.right) for other in others):
        return LowRank(_sum([factor.left for factor in factors], factors), first.right.float(), 1.0, first.form)
    if all(torch.equal(first.left, other.left) for other in others):
        return LowRank(first.left.float(), _sum([factor.right for factor in factors], factors), 1.0, first.form)
    left = torch.cat([factor.left.double() * factor.scale for factor in factors], dim=1).float()
    right = torch.cat([factor.right.float() for factor in factors])
    return LowRank(left, right, 1.0, factors[0].form)


def _sum(sides: Sequence[Tensor], factors: Sequence[LowRank]) -> Tensor:
    total = torch.zeros_like(sides[0], dtype=torch.float64)
    for side, factor in zip(sides, factors, strict=True):
        total += side.double() * factor.scale
    return total.float()


def _merged_whole(models: ModelSet, tensor: str, coefficients: Coefficients) -> Tensor:
    base = models.base.tensor(tensor)
    weights = torch.tensor(coefficients.of(tensor), dtype=torch.float64)
    total = base.flatten().double() + weights @ models.deltas(tensor, 0, base.numel()).double()
    return total.view(base.shape).to(base.dtype)


def _module(tensor: str, adapters: Iterable[AdapterSource], saved: bool = False) -> str:
    """The name that the adapters themselves use, where they agree; else the base's. Of the module, or of a saved tensor."""
    used = {name for adapter in adapters if (name := adapter.names.get(tensor))}
    name = used.pop() if len(used) == 1 else tensor
    return name if saved else name.removesuffix(".weight")


def _truncate(factor: LowRank, rank: int) -> tuple[LowRank, float]:
    left_basis, left_core = torch.linalg.qr(factor.left.double())
    right_basis, right_core = torch.linalg.qr(factor.right.double().T)
    u, singular, vh = torch.linalg.svd(left_core @ right_core.T)
    size = float(singular.norm())
    root = singular[:rank].sqrt()
    left = (left_basis @ u[:, :rank] * root).float()
    right = (root[:, None] * (vh[:rank] @ right_basis.T)).float()
    return LowRank(left, right, 1.0, factor.form), float(singular[rank:].norm()) / size if size else 0.0


def _keyed(module: str, factor: LowRank, shape: tuple[int, ...]) -> Iterable[tuple[str, Tensor]]:
    a, b = (factor.left.T, factor.right.T) if factor.form in ("transposed", "embedding") else (factor.right, factor.left)
    a_shape, b_shape = factor_shapes(shape, factor.rank, factor.form)
    a_key, b_key = ("lora_embedding_A", "lora_embedding_B") if factor.form == "embedding" else ("lora_A.weight", "lora_B.weight")
    return (f"{module}.{a_key}", a.reshape(a_shape)), (f"{module}.{b_key}", b.reshape(b_shape))
