"""Measures merges in this process: weights assembled in place, every task's data run through the module that reads them."""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from app.domain.errors import Fault, MeasurementError, RefusedError
from app.domain.study import SpaceSpec, TransformSpec
from app.domain.task import Split
from app.domain.trial import Proposal
from checkpoints.pairing import Pairing, pairing_of
from workers.evaluators.adamerging import Parts, adamerge
from workers.evaluators.linearise import TangentMerges
from workers.evaluators.merges import Merges
from workers.evaluators.module_binding import Binding, bind_module
from workers.evaluators.network import Network
from workers.evaluators.passes import Pass
from workers.evaluators.protocol import Evaluation
from workers.evaluators.scorer import TaskScorer

_HALF = torch.finfo(torch.float16)


@dataclass
class MergeEvaluator:
    """An `Evaluator` (see protocol.py). Built by `build_evaluator`. One trial at a time: all trials share one module's weights."""

    network: Network
    binding: Binding
    merges: Merges | TangentMerges
    passes: tuple[Pass, ...]
    scorers: Mapping[str, TaskScorer]
    gram: Tensor
    _bound: TransformSpec | None = None

    @property
    def group_labels(self) -> tuple[str, ...]:
        return self.merges.groups.labels

    @property
    def plan(self) -> str:
        return str(self.merges.of(self.merges.usual).plan)

    @property
    def pairing(self) -> Pairing:
        return pairing_of(self.merges.models)

    def evaluate(self, proposal: Proposal) -> Evaluation:
        """See protocol.py. A trial is the assembly of the weights and the passes over the data; no weight is copied, none allocated."""
        with _out_of_memory_told():
            self.assemble(proposal)
            outputs = self.run(proposal.split, proposal.tasks)
        for task, rows in outputs.items():
            _check_finite(task, rows)
        measured = [task for task in self.scorers if task in outputs]
        scores = {task: self._score(task, proposal.split, outputs[task]) for task in measured}
        # what is exact about merges of tangent adapters would be lost to rounding
        kept = outputs if isinstance(self.merges, TangentMerges) else {task: _halve(rows) for task, rows in outputs.items()}
        return Evaluation(scores, {task: kept[task] for task in measured})

    def adamerge(self, transform: TransformSpec, space: SpaceSpec, steps: int, seed: int) -> tuple[float, ...]:
        """See adamerging.py."""
        with _out_of_memory_told(), self._repeatable():
            return adamerge(self.parts(), transform, space, steps, seed)

    def parts(self) -> Parts:
        """What a descent needs. Raises RefusedError where merges are no weights of the network."""
        if not isinstance(self.merges, Merges):
            raise RefusedError([Fault("baselines", "adamerging merges weights, and this network is linearised in them: leave it out")])
        return Parts(self.network, self.binding, self.merges, self.passes, self.scorers, self.gram.shape[0], self.assemble)

    def assemble(self, proposal: Proposal) -> None:
        """Make the module's weights those of the proposal's merge."""
        merge = self.merges.of(proposal.transform)
        if self._bound != proposal.transform:
            bind_module(self.network.module, self.binding, merge.views, self.merges.place.device)
            self._bound = proposal.transform
        merge.assemble(proposal.coefficients)

    def run(self, split: Split, tasks: Collection[str] = ()) -> dict[str, Tensor]:
        """Outputs of the module as it stands, by task (of `tasks`, or of all): m x q, float32, on the CPU."""
        chosen = [one.restricted(tasks) for one in self.passes] if tasks else self.passes
        with torch.inference_mode(), self._repeatable():
            return {task: rows for one in chosen if one.heads for task, rows in one.run(self.network, split).items()}

    def _repeatable(self) -> AbstractContextManager[None]:
        if self.merges.place.device.type != "cuda":
            return nullcontext()
        # the fastest kernel of the moment may differ from trial to trial, and with it the last digits
        context: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        return context

    def _score(self, task: str, split: Split, outputs: Tensor) -> float:
        score = float(self.scorers[task].score_on(split, outputs[None].double()))
        if not math.isfinite(score):
            raise MeasurementError(f"{task}: {self.scorers[task].metric.name} is {score} on the {split} split")
        return score


def _check_finite(task: str, outputs: Tensor) -> None:
    broken = int((~torch.isfinite(outputs)).any(1).sum())
    if broken:
        raise MeasurementError(f"{task}: the outputs of {broken} of {len(outputs)} examples are NaN or infinite")


def _halve(outputs: Tensor) -> Tensor:
    # finite outputs stay finite: what float16 cannot hold becomes its largest number
    return outputs.clamp(_HALF.min, _HALF.max).half()


@contextmanager
def _out_of_memory_told() -> Iterator[None]:
    """Out of memory as MeasurementError: other coefficients would meet it too, but a smaller batch may not."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _too_large(error) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):  # the only way in which torch tells this on the CPU
            raise
        raise _too_large(error) from error


def _too_large(error: BaseException) -> MeasurementError:
    return MeasurementError(f"out of memory: {str(error).splitlines()[0]}; set a smaller `batch` for the tasks, or less --memory")
