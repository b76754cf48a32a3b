"""theta_0 + sum of c_n v_n over one block, summed in float64 and rounded once: the arithmetic of every merge.

The differences of 32-bit weights lie on a grid, and coefficients are often short decimals, so many sums fall half-way between two
results. Results of 32 bits and more are therefore summed as the formula stands, theta_0 + (c_1 v_1 + c_2 v_2 + ...): gathered,
or with fused multiplications, one in a thousand such ties would round the other way. Results of 16 bits pass through float32,
which brings them back on the grid whatever the order; they take the shorter way, (1 - sum of c_n) theta_0 + c_1 theta_1 + ...
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Term:
    """What one coefficient scales: theta_n as it is stored (`whole`), or the task vector v_n itself. `values`: flat, floating."""

    coefficient: float
    values: Tensor
    whole: bool


@dataclass(frozen=True)
class Workspace:
    """Float64 memory for blocks of up to `size` elements, used again from block to block; one a thread."""

    size: int
    _memory: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def space(self, name: str, length: int) -> Tensor:
        """The first `length` elements of the memory under `name`, whatever they hold."""
        if name not in self._memory:
            self._memory[name] = torch.empty(self.size, dtype=torch.float64)
        return self._memory[name][:length]

    def widened(self, name: str, values: Tensor) -> Tensor:
        """`values` as float64, in the memory under `name`."""
        # torch has no vector instructions from float16 to float64, but from either to float32
        return self.space(name, values.numel()).copy_(values.float() if values.dtype is torch.float16 else values)


def write_sum(base: Tensor, terms: Sequence[Term], out: Tensor, workspace: Workspace) -> None:
    """Write theta_0 plus the scaled task vectors into `out`. `base`: theta_0. All flat, floating, of one length, any dtypes."""
    if out.dtype.itemsize == 2:
        out.copy_(_sum_gathered(base, terms, workspace).float())
    else:
        out.copy_(_sum_as_written(base, terms, workspace))


def _sum_as_written(base: Tensor, terms: Sequence[Term], workspace: Workspace) -> Tensor:
    wide_base = workspace.widened("base", base)
    total = workspace.space("total", base.numel()).zero_()
    for term in terms:
        values = workspace.widened("term", term.values)
        total.add_((values.sub_(wide_base) if term.whole else values).mul_(term.coefficient))
    return total.add_(wide_base)


def _sum_gathered(base: Tensor, terms: Sequence[Term], workspace: Workspace) -> Tensor:
    share = 1.0 - math.fsum(term.coefficient for term in terms if term.whole)
    total = workspace.widened("total", base).mul_(share)
    for term in terms:
        total.add_(workspace.widened("term", term.values), alpha=term.coefficient)
    return total
