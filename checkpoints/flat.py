"""Merges in place: theta(c) is built in one flat buffer a dtype, of which a module's parameters are views."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from checkpoints.errors import MisfitError
from checkpoints.groups import Groups, spread_coefficients
from checkpoints.model_set import ModelSet
from checkpoints.residency import ResidencyPlan, plan_residency
from checkpoints.runs import Run, Slot, find_runs, place_slots
from checkpoints.stretches import Scratch, Stretch, add_factors, hold_run, read_run
from checkpoints.task_vectors import BlockTransform
from checkpoints.weighted_sum import write_sum


@dataclass(frozen=True)
class FlatMerge:
    """A model set as one set of weights that changes with its coefficients. Built by `prepare_flat_merge`.

    `views`: every tensor of the base by name, in its shape: merged ones are views of the buffer and change with `assemble`;
    kept integers and tensors named private are the base's. `plan`: where everything lives, to be shown.
    """

    plan: ResidencyPlan
    views: Mapping[str, Tensor]
    groups: Groups
    count: int
    stretches: tuple[Stretch, ...]
    scratch: Scratch

    @torch.no_grad()
    def assemble(self, vector: Sequence[float]) -> None:
        """Write theta(c) into the views: one pass over base and task vectors, one rounding to the buffer's dtype.

        `vector`: N x G values, the groups of the first tuned checkpoint first. Raises MisfitError for another number of values,
        or one that is not finite.
        """
        rows = spread_coefficients(vector, self.groups).rows
        if len(rows) != self.count:
            raise MisfitError(f"{len(vector)} coefficients for {self.count} tuned checkpoints and {len(self.groups.labels)} groups")
        compute_all(self.stretches, rows, self.scratch)


def compute_all(stretches: Sequence[Stretch], rows: Sequence[Sequence[float]], scratch: Scratch) -> None:
    """Compute stretches, those in the machine's own memory on as many threads as torch may use. `rows`: one a tuned checkpoint."""
    at_once = [stretch for stretch in stretches if summed_at_once(stretch)]
    for stretch in stretches:
        if not summed_at_once(stretch):
            _compute_stepwise(stretch, _of_group(rows, stretch), scratch)
    threads = min(torch.get_num_threads(), len(at_once))
    if threads <= 1:
        _compute_at_once(at_once, rows)
        return
    with ThreadPoolExecutor(threads) as pool:
        parts = [pool.submit(_compute_at_once, at_once[first::threads], rows) for first in range(threads)]
        for part in parts:
            part.result()


def summed_at_once(stretch: Stretch) -> bool:
    """Whether one pass over memory does it: no products of factors, and no other device."""
    return not stretch.factors and stretch.out.device.type == "cpu"


def _compute_at_once(stretches: Sequence[Stretch], rows: Sequence[Sequence[float]]) -> None:
    for stretch in stretches:
        write_sum(stretch.base, stretch.terms(_of_group(rows, stretch)), stretch.out)


def _of_group(rows: Sequence[Sequence[float]], stretch: Stretch) -> list[float]:
    return [row[stretch.group] for row in rows]


def _compute_stepwise(stretch: Stretch, coefficients: Sequence[float], scratch: Scratch) -> None:
    """In the buffer itself where that is float32 on the computing device, else rounded into it at the end."""
    out, device = stretch.out, scratch.total.device
    total = out if out.dtype == torch.float32 and out.device == device else scratch.total[: len(out)]
    base, delta = scratch.base[: len(out)].copy_(stretch.base), scratch.delta[: len(out)]
    total.copy_(base)
    for term in stretch.terms(coefficients):
        # convert first, then subtract: an operation on mixed dtypes runs element by element
        added = delta.copy_(term.values).sub_(base) if term.whole else term.values
        total.add_(added, alpha=term.coefficient)
    add_factors(total, stretch.factors, coefficients)
    if total is not out:
        out.copy_(total)


def prepare_flat_merge(
    models: ModelSet,
    groups: Groups,
    transform: BlockTransform | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = torch.float32,
    budget: int | None = None,
) -> FlatMerge:
    """Lay out the buffer on `device` and fill it with the base.

    `groups`: of the merged tensors. `dtype`: of the merged weights, None for the base's own (then one buffer a dtype).
    `budget`: bytes of device memory for the merged weights, base and task vectors together; by default a share of what is free. Where
    they do not fit, base and task vectors are read from their files at every trial. Low-rank task vectors stay low-rank
    unless a transform is given, which makes them dense.
    """
    device = torch.device(device)
    slots = place_slots(models, dtype)
    runs = find_runs(models, slots, groups, transformed=transform is not None)
    buffers = _allocate(slots, device)
    plan = plan_residency(device, sum(buffer.nbytes for buffer in buffers.values()), sum(run.stored_bytes for run in runs), budget)
    cut: Callable[[ModelSet, Run, Tensor, BlockTransform | None], Iterator[Stretch]]
    cut = hold_run if plan.mode == "resident" else read_run
    stretches = tuple(stretch for run in runs for stretch in cut(models, run, buffers[run.slots[0].dtype], transform))
    scratch = _scratch(stretches, device if plan.mode == "resident" else torch.device("cpu"))
    compute_all(stretches, [[0.0] * len(groups.labels)] * len(models.tuned), scratch)
    moving = tuple(stretch for stretch in stretches if stretch.dense or stretch.factors)
    return FlatMerge(plan, _views(models, slots, buffers), groups, len(models.tuned), moving, scratch)


def _allocate(slots: Sequence[Slot], device: torch.device) -> dict[torch.dtype, Tensor]:
    sizes = {slot.dtype: slot.offset + slot.size for slot in slots}  # slots of one dtype come in order: the last one counts
    return {dtype: torch.zeros(size, dtype=dtype, device=device) for dtype, size in sizes.items()}


def _scratch(stretches: Sequence[Stretch], device: torch.device) -> Scratch:
    longest = max((len(stretch.out) for stretch in stretches if not summed_at_once(stretch)), default=0)
    return Scratch(*(torch.empty(longest, device=device) for _ in range(3)))


def _views(models: ModelSet, slots: Sequence[Slot], buffers: Mapping[torch.dtype, Tensor]) -> dict[str, Tensor]:
    merged = {slot.tensor: buffers[slot.dtype][slot.offset : slot.offset + slot.size].view(slot.shape) for slot in slots}
    device = next(iter(buffers.values())).device
    kept = {tensor: models.base.tensor(tensor).clone().to(device) for tensor in (*models.roles.kept, *models.roles.own)}
    views = merged | kept
    return {tensor: views[tensor] for tensor in models.base.layout.tensors}
