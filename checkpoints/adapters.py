"""LoRA adapters as PEFT stores them, read as task vectors of their base: DeltaW = s B A, never A and B by themselves."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from checkpoints.adapter_config import AdapterConfig, read_adapter_config
from checkpoints.adapter_metadata import AdapterMetadata, read_metadata
from checkpoints.errors import MisfitError, NotFiniteError
from checkpoints.fit import Roles
from checkpoints.layout import ADAPTER_CONFIG, Layout
from checkpoints.read import MappedTensors

PREFIX = "base_model.model."

_FACTOR = re.compile(r"(?P<module>.+)\.(?:lora_(?P<dense>[AB])\.weight|lora_embedding_(?P<embedding>[AB]))$")
_BASE_COPY = ".base_layer."  # PEFT stores a targeted embedding's own weights beside its factors

Form = Literal["linear", "transposed", "convolution", "embedding"]


@dataclass(frozen=True)
class LowRank:
    """DeltaW = scale * left @ right of one tensor of the base, seen as a matrix of shape[0] rows.

    `left`: rows x r; `right`: r x columns; both as stored. `form` says how PEFT lays the two out on disk.
    """

    left: Tensor
    right: Tensor
    scale: float
    form: Form

    @property
    def rank(self) -> int:
        return self.right.shape[0]

    def dense(self, start: int, stop: int) -> Tensor:
        """Flat elements [start, stop) of DeltaW, float32: the product is summed in float64 and rounded once."""
        columns = self.right.shape[1]
        first, last = start // columns, -(-stop // columns)
        rows = (self.left[first:last].double() * self.scale) @ self.right.double()
        return rows.flatten()[start - first * columns : stop - first * columns].float()


@dataclass(frozen=True)
class AdapterSource:
    """A tuned checkpoint that is an adapter. Names are the base's. A TunedSource.

    `factors`: tensors with a low-rank task vector; `saved`: tensors stored whole (modules_to_save), with their names in the
    file; `own`: likewise, of this task alone; `names`: what the adapter itself calls the base's tensors; `metadata`: of our own training.
    """

    tensors: MappedTensors
    factors: Mapping[str, LowRank]
    saved: Mapping[str, str]
    own: Mapping[str, str]
    names: Mapping[str, str]
    metadata: AdapterMetadata | None = None

    @property
    def private(self) -> tuple[str, ...]:
        return tuple(self.own)

    def private_tensor(self, name: str) -> Tensor:
        return self.tensors.tensor(self.own[name])

    def touches(self, tensor: str) -> bool:
        return tensor in self.factors or tensor in self.saved

    def weights(self, tensor: str, start: int, stop: int) -> Tensor | None:
        return self.tensors.flat(self.saved[tensor], start, stop) if tensor in self.saved else None

    def write_delta(self, tensor: str, start: int, stop: int, base: Tensor, out: Tensor) -> None:
        stored = self.weights(tensor, start, stop)
        if stored is None:
            out.copy_(self.factors[tensor].dense(start, stop))
        else:
            out.copy_(stored).sub_(base)


def open_adapter(name: str, layout: Layout, base: Layout, roles: Roles) -> AdapterSource:
    """Read a PEFT LoRA directory against the base that it was trained on. `name`: of the tuned checkpoint, for messages.

    Linear, convolution and embedding factors, rank and alpha patterns, rank-stabilised scales, transposed layers
    (fan_in_fan_out) and modules_to_save are covered. Raises LayoutError for an unreadable configuration, MisfitError naming
    at once every feature, module and shape that does not fit, NotFiniteError for a factor that holds NaN or infinity.
    """
    config = read_adapter_config(layout.root / ADAPTER_CONFIG)
    reader = _Reader(name, MappedTensors(layout), config, base, roles)
    source = reader.read()
    if reader.faults:
        raise MisfitError(reader.faults[0], reader.faults)
    broken = [f"{name}: {tensor}: its factors hold NaN or infinity" for tensor, factor in source.factors.items() if not _finite(factor)]
    if broken:
        raise NotFiniteError(broken[0], broken)
    return source


def _finite(factor: LowRank) -> bool:
    return bool(factor.left.isfinite().all()) and bool(factor.right.isfinite().all())


class _Reader:
    """Sorts the tensors of one adapter file and gathers everything that does not fit in `faults`."""

    def __init__(self, name: str, tensors: MappedTensors, config: AdapterConfig, base: Layout, roles: Roles) -> None:
        self.name, self.tensors, self.config, self.base = name, tensors, config, base
        self.merged, self.kept, self.named_own = set(roles.merged), set(roles.kept), set(roles.own)
        self.faults: list[str] = []

    def read(self) -> AdapterSource:
        pairs, whole = self._sort()
        rename = _naming([f"{module}.weight" for module in pairs], self.base.tensors)
        factors = {rename(f"{module}.weight"): self._low_rank(module, rename(f"{module}.weight"), pair) for module, pair in pairs.items()}
        if not pairs:
            self._fault("the adapter holds no LoRA factors")
        known = {tensor: rename(tensor) for tensor in whole if rename(tensor) in self.base.tensors}
        saved, own = self._sort_whole({known.get(tensor, tensor): key for tensor, key in whole.items()})
        names = {rename(tensor): tensor for tensor in (*(f"{module}.weight" for module in pairs), *whole)}
        found = {tensor: factor for tensor, factor in factors.items() if factor}
        return AdapterSource(self.tensors, found, saved, own, names, read_metadata(self.tensors.layout))

    def _fault(self, text: str) -> None:
        self.faults.append(f"{self.name}: {text}")

    def _sort(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """Keys of the file: per module those of its two factors; and tensors stored whole, by their names without prefix."""
        pairs: dict[str, dict[str, str]] = {}
        whole: dict[str, str] = {}
        for key in self.tensors.layout.tensors:
            tensor = key.removeprefix(PREFIX)
            factor = _FACTOR.match(tensor)
            if factor:
                side = factor["dense"] or f"embedding {factor['embedding']}"
                pairs.setdefault(factor["module"], {})[side] = key
            elif "lora_" in tensor:
                self._fault(f"{key}: not a factor of plain LoRA")
            else:
                whole[tensor.replace(_BASE_COPY, ".")] = key
        return pairs, whole

    def _low_rank(self, module: str, tensor: str, pair: Mapping[str, str]) -> LowRank | None:
        form = self._form(tensor, pair)
        sides = ("embedding A", "embedding B") if form == "embedding" else ("A", "B")
        if set(pair) != set(sides):
            self._fault(f"{module}: needs one factor A and one factor B, has {', '.join(sorted(pair))}")
        elif tensor not in self.merged:
            self._fault(self._no_target(tensor))
        else:
            a, b = (self.tensors.tensor(pair[side]) for side in sides)
            if self._fits(module, tensor, a, b, form):
                return arrange_factors(a, b, self.config.scale_of(module), form)
        return None

    def _no_target(self, tensor: str) -> str:
        if tensor in self.named_own:
            return f"{tensor}: has LoRA factors, and is named private; a private tensor must be stored whole"
        if tensor in self.kept:
            return f"{tensor}: has LoRA factors, and the base holds {self.base.entry(tensor).dtype} there"
        return f"{tensor}: has LoRA factors, and the base has no such tensor"

    def _form(self, tensor: str, pair: Mapping[str, str]) -> Form:
        if "embedding A" in pair or "embedding B" in pair:
            return "embedding"
        if tensor in self.base.tensors and len(self.base.entry(tensor).shape) > 2:
            return "convolution"
        return "transposed" if self.config.fan_in_fan_out else "linear"

    def _fits(self, module: str, tensor: str, a: Tensor, b: Tensor, form: Form) -> bool:
        shape, rank = self.base.entry(tensor).shape, self.config.rank_of(module)
        found = (tuple(a.shape), tuple(b.shape))
        fits = len(shape) > 1 and found == factor_shapes(shape, rank, form)
        if not fits:
            self._fault(f"{tensor}: factors of {found[0]} and {found[1]} at rank {rank} do not make the base's {list(shape)}")
        return fits

    def _sort_whole(self, whole: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Tensors stored whole: those that are merged, and those of this task alone. Integer ones must be the base's."""
        saved: dict[str, str] = {}
        own: dict[str, str] = {}
        for tensor, key in whole.items():
            entry = self.tensors.layout.entry(key)
            if tensor not in self.base.tensors or tensor in self.named_own:
                own[tensor] = key
            elif entry.shape != self.base.entry(tensor).shape:
                self._fault(f"{tensor}: stored as {list(entry.shape)}, the base has {list(self.base.entry(tensor).shape)}")
            elif entry.floating != self.base.entry(tensor).floating:
                self._fault(f"{tensor}: stored as {entry.dtype}, the base has {self.base.entry(tensor).dtype}")
            elif _BASE_COPY in key or tensor in self.kept:
                self._check_same(tensor, key)
            else:
                saved[tensor] = key
        return saved, own

    def _check_same(self, tensor: str, key: str) -> None:
        if not torch.equal(self.tensors.tensor(key).double(), MappedTensors(self.base).tensor(tensor).double()):
            self._fault(f"{tensor}: stored with other values than the base's; it was trained on another base")


def factor_shapes(shape: tuple[int, ...], rank: int, form: Form) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of A and B as PEFT stores them for a tensor of the base. `shape`: at least two dimensions."""
    if form in ("transposed", "embedding"):
        return (rank, shape[0]), (shape[1], rank)
    return (rank, *shape[1:]), (shape[0], rank, *(1 for _ in shape[2:]))


def arrange_factors(a: Tensor, b: Tensor, scale: float, form: Form) -> LowRank:
    """PEFT's A and B as the two factors of the base's tensor seen as a matrix. Only views are made."""
    if form in ("transposed", "embedding"):
        return LowRank(a.t(), b.t(), scale, form)
    if form == "convolution":
        return LowRank(b.flatten(1), a.flatten(1), scale, form)
    return LowRank(b, a, scale, form)


def _naming(tensors: Sequence[str], base: Iterable[str]) -> "_Rename":
    """How the adapter's module names become the base's: as they are, or with one leading part more or less.

    A model saved from inside a wrapper (a backbone, a backbone with a head) carries such a part in all its names.
    """
    known = set(base)
    return next((rename for rename in _renames(tensors, known) if all(rename(tensor) in known for tensor in tensors)), _Rename())


def _renames(tensors: Sequence[str], known: Iterable[str]) -> Iterator["_Rename"]:
    yield _Rename()
    for part in sorted({tensor.partition(".")[0] for tensor in tensors}):
        yield _Rename(drop=f"{part}.")
    for part in sorted({tensor.partition(".")[0] for tensor in known}):
        yield _Rename(add=f"{part}.")


@dataclass(frozen=True)
class _Rename:
    drop: str = ""
    add: str = ""

    def __call__(self, tensor: str) -> str:
        return self.add + tensor.removeprefix(self.drop)
