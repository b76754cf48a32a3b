"""A merge: theta(c) = theta_0 + sum of c_n v_n of one model set, computed block by block when somebody reads it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from checkpoints.errors import MisfitError, NotFiniteError
from checkpoints.finite import count_stray, stray_values
from checkpoints.groups import Coefficients
from checkpoints.model_set import ModelSet
from checkpoints.read import DTYPES
from checkpoints.task_vectors import BlockTransform
from checkpoints.weighted_sum import Term, write_sum

BLOCK = 15 << 13  # elements: enough that what happens once a block hardly counts, few enough for a core's own cache
# Elements of a block that operations of torch see at once: below the 32768 from which torch spreads one operation over threads.
# Cores that work on blocks of their own then need not wait for each other after every operation, which on a busy machine takes a
# hundred times as long as the work.
STEP = BLOCK >> 2


@dataclass(frozen=True)
class Merge:
    """The weights of a model set at one coefficient vector, virtual. `transform`: of the task vectors, None for none.

    Raises MisfitError when coefficients and model set are not of one shape.
    """

    models: ModelSet
    coefficients: Coefficients
    transform: BlockTransform | None = None

    def __post_init__(self) -> None:
        if len(self.coefficients.rows) != len(self.models.tuned):
            raise MisfitError(f"{len(self.coefficients.rows)} rows of coefficients for {len(self.models.tuned)} tuned checkpoints")
        stray = [f"no group of the coefficients takes {name}" for name in self.models.sizes if name not in self.coefficients.groups.members]
        if stray:
            raise MisfitError(stray[0], stray)


@dataclass(frozen=True)
class BlockMerger:
    """Computes blocks of one merge, on any number of threads at once."""

    merge: Merge

    def block(self, tensor: str, number: int, out: Tensor | None = None) -> Tensor:
        """Elements [number, number + 1) x BLOCK of any tensor of the base, flat, in the base's dtype; in `out` where that is given.

        theta_0 + (c_1 v_1 + c_2 v_2 + ...), summed in float64 and rounded once. Coefficients of zero give the base's bits; a
        single coefficient of 1 those of its tuned checkpoint, where it has the base's dtype.
        Raises NotFiniteError for a NaN or infinity among the values read, or a result beyond the range of the dtype.
        """
        models, start = self.merge.models, number * BLOCK
        entry = models.base.layout.entry(tensor)
        stop = min(entry.elements, start + BLOCK)
        base = models.base.flat(tensor, start, stop)
        out = torch.empty(base.numel(), dtype=DTYPES[entry.dtype]) if out is None else out
        coefficients = self.merge.coefficients.of(tensor) if tensor in models.sizes else ()
        stored = self._stored(tensor, start, stop, coefficients, base)
        if stored is not None:
            out.copy_(stored)
            finite = not count_stray(out)
        else:
            finite = self._write(tensor, start, coefficients, base, out)
        if not finite:
            raise self._not_finite(tensor, start, stop)
        return out

    def _write(self, tensor: str, start: int, coefficients: tuple[float, ...], base: Tensor, out: Tensor) -> bool:
        """Computes the block; whether all of it is finite."""
        step = BLOCK if self._only_stored(tensor) else STEP
        finite = True
        for first in range(0, len(base), step):
            part = slice(first, min(first + step, len(base)))
            terms = list(self._terms(tensor, start + part.start, start + part.stop, coefficients, base[part]))
            finite &= write_sum(base[part], terms, out[part])
        return finite

    def _only_stored(self, tensor: str) -> bool:
        """Whether nothing but stored weights takes part: then torch has nothing to compute."""
        sources = self.merge.models.sources.values()
        return self.merge.transform is None and all(source.weights(tensor, 0, 0) is not None for source in sources)

    def _stored(self, tensor: str, start: int, stop: int, coefficients: tuple[float, ...], base: Tensor) -> Tensor | None:
        """The block where it need not be computed: the base's, or one tuned checkpoint's."""
        scaled = [number for number, coefficient in enumerate(coefficients) if coefficient]
        if not scaled:
            return base
        if len(scaled) == 1 and coefficients[scaled[0]] == 1.0 and self.merge.transform is None:
            source = list(self.merge.models.sources.values())[scaled[0]]
            return source.weights(tensor, start, stop) if source.touches(tensor) else base
        return None

    def _terms(self, tensor: str, start: int, stop: int, coefficients: tuple[float, ...], base: Tensor) -> Iterator[Term]:
        models, transform = self.merge.models, self.merge.transform
        if transform is not None:
            rows = zip(coefficients, transform.apply(tensor, start, models.deltas(tensor, start, stop)), strict=True)
            yield from (Term(coefficient, row, whole=False) for coefficient, row in rows if coefficient)
            return
        for coefficient, source in zip(coefficients, models.sources.values(), strict=True):
            if not coefficient or not source.touches(tensor):
                continue
            weights = source.weights(tensor, start, stop)
            if weights is None:
                delta = torch.empty(stop - start)
                source.write_delta(tensor, start, stop, base.float(), delta)
                yield Term(coefficient, delta, whole=False)
            else:
                yield Term(coefficient, weights, whole=True)

    def _not_finite(self, tensor: str, start: int, stop: int) -> NotFiniteError:
        strays = stray_values(self.merge.models, tensor, start, stop)
        faults = [f"{name}: {tensor}: {count} of the values from {start} to {stop} are NaN or infinite" for name, count in strays.items()]
        dtype = self.merge.models.base.layout.entry(tensor).dtype
        faults = faults or [f"{tensor}: the merged weights exceed the range of {dtype}; smaller coefficients are needed"]
        return NotFiniteError(faults[0], faults)

