"""One stretch of the flat buffer: theta_0 + sum c_n v_n over it, from held memory or from mapped files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from checkpoints.model_set import ModelSet
from checkpoints.runs import Run, Slot, factor_of
from checkpoints.task_vectors import BlockTransform
from checkpoints.weighted_sum import Term

BLOCK = {"cpu": 1 << 18, "cuda": 1 << 24}  # elements: what stays in cache, and what makes a kernel worth its launch


@dataclass(frozen=True)
class Factors:
    """Some rows of one low-rank task vector. `left`: rows x r, times the adapter's scale; `right`: r x columns; float32."""

    number: int
    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class Scratch:
    """Float32 room for one stretch on the computing device, used again for every stretch that torch computes."""

    total: Tensor
    base: Tensor
    delta: Tensor


class Stretch(Protocol):
    """`out`: its part of the flat buffer, one-dimensional. `group`: whose coefficients scale it.

    `dense`, `factors`: its task vectors that are not zero; where there is none, the stretch is the base's for good.
    """

    @property
    def out(self) -> Tensor: ...

    @property
    def group(self) -> int: ...

    @property
    def dense(self) -> tuple[int, ...]: ...

    @property
    def factors(self) -> tuple[Factors, ...]: ...

    @property
    def base(self) -> Tensor:
        """theta_0 as it is stored, as long as `out`."""

    def terms(self, coefficients: Sequence[float]) -> list[Term]:
        """What the dense task vectors add, those with a coefficient of zero left out."""


@dataclass(frozen=True)
class HeldStretch:
    """Base and task vectors in device memory. `rows`: one a number in `dense`; differences where float32, else tuned weights."""

    out: Tensor
    group: int
    base: Tensor
    dense: tuple[int, ...]
    rows: Tensor
    factors: tuple[Factors, ...]

    def terms(self, coefficients: Sequence[float]) -> list[Term]:
        whole = self.rows.dtype != torch.float32
        numbered = zip(self.dense, self.rows, strict=True)
        return [Term(coefficients[number], row, whole) for number, row in numbered if coefficients[number]]


@dataclass(frozen=True)
class ReadStretch:
    """Base and task vectors in their mapped files: flat elements [start, stop) of one tensor, read again at every trial."""

    out: Tensor
    group: int
    models: ModelSet
    transform: BlockTransform | None
    tensor: str
    start: int
    stop: int
    dense: tuple[int, ...]
    rows: torch.dtype
    factors: tuple[Factors, ...]

    @property
    def base(self) -> Tensor:
        return self.models.base.flat(self.tensor, self.start, self.stop)

    def terms(self, coefficients: Sequence[float]) -> list[Term]:
        if self.transform:
            deltas = self.transform.apply(self.tensor, self.start, self.models.deltas(self.tensor, self.start, self.stop))
            return [Term(coefficient, row, whole=False) for row, coefficient in zip(deltas, coefficients, strict=True) if coefficient]
        return [self._term(number, coefficients[number]) for number in self.dense if coefficients[number]]

    def _term(self, number: int, coefficient: float) -> Term:
        source = tuple(self.models.sources.values())[number]
        weights = source.weights(self.tensor, self.start, self.stop)
        if weights is not None and self.rows != torch.float32:
            return Term(coefficient, weights, whole=True)
        delta = torch.empty(self.stop - self.start)
        source.write_delta(self.tensor, self.start, self.stop, self.base.float(), delta)
        return Term(coefficient, delta, whole=False)


def add_factors(total: Tensor, factors: Sequence[Factors], coefficients: Sequence[float]) -> None:
    """Add the low-rank task vectors to `total`, the flat form of their rows, without making any of them dense."""
    for factor in factors:
        if coefficients[factor.number]:
            matrix = total.view(len(factor.left), factor.right.shape[1])
            matrix.addmm_(factor.left, factor.right, alpha=coefficients[factor.number])


def hold_run(models: ModelSet, run: Run, buffer: Tensor, transform: BlockTransform | None) -> Iterator[HeldStretch]:
    """Copy base and task vectors of a run to the buffer's device, once, and cut them into stretches."""
    made, device = run.makeup, buffer.device
    base = torch.zeros(run.length, dtype=made.stored, device=device)
    rows = torch.zeros(len(made.dense), run.length, dtype=made.rows, device=device)
    for slot in run.slots:
        place = slice(slot.offset - run.begin, slot.offset - run.begin + slot.size)
        base[place].copy_(models.base.flat(slot.tensor))
        if transform:
            _fill_transformed(models, transform, slot, rows[:, place])
        else:
            for number, row in zip(made.dense, rows[:, place], strict=True):
                _fill_row(models, number, slot, row)
    factors, step = _factors(models, run, device), _step(run, device)
    for start in range(0, run.length, step):
        part = slice(start, min(start + step, run.length))
        out = buffer[run.begin + part.start : run.begin + part.stop]
        yield HeldStretch(out, made.group, base[part], made.dense, rows[:, part], _cut(factors, part))


def _fill_row(models: ModelSet, number: int, slot: Slot, row: Tensor) -> None:
    source = models.sources[models.tuned[number]]
    weights = source.weights(slot.tensor, 0, slot.size)
    if weights is not None and row.dtype != torch.float32:
        row.copy_(weights)
        return
    for start, stop in _blocks(slot):
        base, delta = models.base.flat(slot.tensor, start, stop).to(torch.float32), torch.empty(stop - start)
        source.write_delta(slot.tensor, start, stop, base, delta)
        row[start:stop].copy_(delta)


def _fill_transformed(models: ModelSet, transform: BlockTransform, slot: Slot, rows: Tensor) -> None:
    for start, stop in _blocks(slot):
        rows[:, start:stop].copy_(transform.apply(slot.tensor, start, models.deltas(slot.tensor, start, stop)))


def _blocks(slot: Slot) -> Iterator[tuple[int, int]]:
    for start in range(0, slot.size, BLOCK["cpu"]):
        yield start, min(start + BLOCK["cpu"], slot.size)


def read_run(models: ModelSet, run: Run, buffer: Tensor, transform: BlockTransform | None) -> Iterator[ReadStretch]:
    """Cut a run into stretches of single tensors that are read from their files. Low-rank factors are held."""
    made, factors = run.makeup, _factors(models, run, torch.device("cpu"))
    step = _step(run, torch.device("cpu"))
    for slot in run.slots:
        for start in range(0, slot.size, step):
            part = slice(start, min(start + step, slot.size))
            out = buffer[slot.offset + part.start : slot.offset + part.stop]
            cut = _cut(factors, part)
            yield ReadStretch(out, made.group, models, transform, slot.tensor, part.start, part.stop, made.dense, made.rows, cut)


def _step(run: Run, device: torch.device) -> int:
    """Elements of a stretch: whole rows where factors are multiplied."""
    block = BLOCK[device.type]
    if not run.makeup.low_rank:
        return block
    slot = run.slots[0]
    columns = slot.size // slot.shape[0]
    return max(1, block // columns) * columns


def _factors(models: ModelSet, run: Run, device: torch.device) -> tuple[Factors, ...]:
    sources = tuple(models.sources.values())
    found = ((number, factor_of(sources[number], run.slots[0].tensor)) for number in run.makeup.low_rank)
    return tuple(
        Factors(number, (factor.left.double() * factor.scale).float().to(device), factor.right.float().contiguous().to(device))
        for number, factor in found
        if factor
    )


def _cut(factors: Sequence[Factors], part: slice) -> tuple[Factors, ...]:
    return tuple(
        Factors(factor.number, factor.left[part.start // columns : part.stop // columns], factor.right)
        for factor in factors
        if (columns := factor.right.shape[1])
    )
