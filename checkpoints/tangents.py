"""Merges of tangent adapters: the base stays as it is, and what coefficients change is the direction of its derivative.

A is frozen at A0 and B starts at 0, so that a step in B moves the weights by s B A0 and nothing else: f(x; phi_0) + J_B(x) B is
f(x; theta_0) + J_theta(x) sum c_n v_n with v_n = s_n B_n A0, affine in c.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from checkpoints.adapters import AdapterSource, LowRank
from checkpoints.groups import Groups, spread_coefficients
from checkpoints.model_set import ModelSet
from checkpoints.task_vectors import BlockTransform

BLOCK = 1 << 20


def is_tangent(models: ModelSet) -> bool:
    """Whether the tuned checkpoints are tangent adapters; a model set holds none of them or nothing else."""
    return any(source.tensors.layout.kind == "tangent" for source in models.sources.values())


@dataclass(frozen=True)
class LowRankSum:
    """Sum of c_n left_n right_n of one tensor. `left`: rows x r; `right`: r x columns; `owners`: r, whose coefficient scales each."""

    left: Tensor
    right: Tensor
    owners: Tensor

    def at(self, coefficients: Tensor) -> Tensor:
        """The sum as a matrix. `coefficients`: N."""
        return (self.left * coefficients[self.owners]) @ self.right


@dataclass(frozen=True)
class TangentMerge:
    """A set of tangent adapters as one direction that changes with its coefficients. Built by `prepare_tangent_merge`.

    `views`: every tensor of the base by name, floating ones float32. `tangents`: by name, in the tensors' shapes, of those that
    coefficients move; written by `assemble`. `sums`: the same tensors where task vectors stay low-rank.
    """

    models: ModelSet
    groups: Groups
    transform: BlockTransform | None
    views: Mapping[str, Tensor]
    tangents: Mapping[str, Tensor]
    sums: Mapping[str, LowRankSum]

    @property
    def plan(self) -> str:
        """Where everything lives, to be shown."""
        size = sum(view.nbytes for view in self.views.values())
        device = next(iter(self.views.values())).device
        return f"tangent on {device}: base {size / 1e6:.1f} MB held in memory, {len(self.tangents)} tensors moved by coefficients"

    @torch.no_grad()
    def assemble(self, vector: Sequence[float]) -> None:
        """Write sum c_n v_n into the tangents. `vector`: N x G values. Raises MisfitError as spread_coefficients does."""
        coefficients = spread_coefficients(vector, self.groups)
        for name, out in self.tangents.items():
            row = torch.tensor(coefficients.of(name), device=out.device)
            if name in self.sums:
                out.copy_(self.sums[name].at(row).view(out.shape))
            else:
                self._add_dense(name, row, out.view(-1))

    def _add_dense(self, name: str, row: Tensor, out: Tensor) -> None:
        for start in range(0, len(out), BLOCK):
            stop = min(len(out), start + BLOCK)
            deltas = self.models.deltas(name, start, stop)
            if self.transform is not None:
                deltas = self.transform.apply(name, start, deltas)
            out[start:stop] = row @ deltas.to(out.device)


def prepare_tangent_merge(
    models: ModelSet, groups: Groups, transform: BlockTransform | None = None, device: torch.device | str = "cpu"
) -> TangentMerge:
    """Lay out base and direction on `device`. `models`: tangent adapters. Low-rank task vectors stay so unless a transform is given."""
    held = {name: models.base.tensor(name) for name in models.base.layout.tensors}
    views = {name: (tensor.float() if tensor.is_floating_point() else tensor).to(device) for name, tensor in held.items()}
    moved = [name for name in models.sizes if any(source.touches(name) for source in models.sources.values())]
    sums = {name: found for name in moved if transform is None and (found := _low_rank_sum(models, name, device)) is not None}
    return TangentMerge(models, groups, transform, views, {name: torch.zeros_like(views[name]) for name in moved}, sums)


def _low_rank_sum(models: ModelSet, name: str, device: torch.device | str) -> LowRankSum | None:
    """None where a checkpoint stores the tensor whole."""
    factors: dict[int, LowRank] = {}
    for number, source in enumerate(models.sources.values()):
        if isinstance(source, AdapterSource) and name in source.factors:
            factors[number] = source.factors[name]
        elif source.touches(name):
            return None
    left = torch.cat([(factor.left.double() * factor.scale).float() for factor in factors.values()], 1)
    right = torch.cat([factor.right.float() for factor in factors.values()])
    owners = torch.cat([torch.full((factor.rank,), number) for number, factor in factors.items()])
    return LowRankSum(left.to(device), right.to(device), owners.to(device))
