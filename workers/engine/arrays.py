"""Between the domain's values and tensors: the only module that turns one into the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor

from app.domain.errors import UnmetError
from app.domain.front import Predicted
from app.domain.study import StudySpec
from app.domain.task import ExternalTask, Task
from app.domain.trial import Trial
from surrogate.history import History, Outputs, Prediction, Scale
from workers.engine.merges import fitted_trials
from workers.evaluators.protocol import Evaluator, Scorer

Scores = Mapping[str, float]
Reader = Callable[[str], bytes]
"""Content by digest."""

_OUTPUTS = "outputs"
_READS_OUTPUTS = frozenset({"output", "auto"})


@dataclass(frozen=True)
class Evidence:
    """What a study has measured, as surrogates read it.

    `histories`: by task, in the spec's order. `gram`: D x D. `groups`: labels of the groups of layers that share coefficients.
    """

    spec: StudySpec
    histories: Mapping[str, History]
    gram: Tensor
    groups: tuple[str, ...]

    @property
    def dimension(self) -> int:
        return self.gram.shape[0]


def gather_evidence(spec: StudySpec, trials: Sequence[Trial], evaluator: Evaluator, read: Reader) -> Evidence:
    """The histories of every task over the trials that surrogates are fitted to; outputs only where the surrogate reads them.

    Raises UnmetError when there is no such trial.
    """
    if not fitted_trials(trials):
        raise UnmetError(f"none of {len(trials)} trials could be measured: there is nothing to fit")
    histories = {task.name: _history(spec, task, fitted_trials(trials, task.name), evaluator, read) for task in spec.tasks}
    return Evidence(spec, histories, evaluator.gram, evaluator.group_labels)


def pack_outputs(outputs: Tensor) -> bytes:
    """One trial's outputs of one task, m x q, as safetensors."""
    content: bytes = safetensors.torch.save({_OUTPUTS: outputs.detach().cpu().contiguous()})
    return content


def unpack_outputs(content: bytes) -> Tensor:
    """The outputs that `pack_outputs` packed, of the same shape and dtype."""
    outputs: Tensor = safetensors.torch.load(content)[_OUTPUTS]
    return outputs


def stack_coefficients(rows: Sequence[Sequence[float]], dimension: int) -> Tensor:
    """n x D, float64; n may be 0."""
    return torch.tensor([list(row) for row in rows], dtype=torch.float64).reshape(len(rows), dimension)


def list_coefficients(coefficients: Tensor) -> tuple[tuple[float, ...], ...]:
    """The rows of n x D."""
    return tuple(tuple(row) for row in coefficients.tolist())


def stack_scores(spec: StudySpec, rows: Sequence[Scores]) -> Tensor:
    """n x T in the metrics' own sign, float64; n may be 0."""
    return stack_coefficients([[row[task.name] for task in spec.tasks] for row in rows], len(spec.tasks))


def directions(spec: StudySpec) -> Tensor:
    """T: 1 where larger is better, -1 where smaller is. Scores times this are utilities, and back."""
    return torch.tensor([1.0 if task.measure.maximize else -1.0 for task in spec.tasks], dtype=torch.float64)


def stack_utilities(spec: StudySpec, rows: Sequence[Scores]) -> Tensor:
    """n x T, larger is better, float64; n may be 0."""
    return stack_scores(spec, rows) * directions(spec)


def list_predictions(predictions: Mapping[str, Prediction]) -> list[dict[str, Predicted]]:
    """What is predicted at each of n coefficient vectors, by task."""
    columns = {task: _predicted(prediction) for task, prediction in predictions.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _predicted(prediction: Prediction) -> list[Predicted]:
    bounds = zip(prediction.mean.tolist(), prediction.low.tolist(), prediction.high.tolist(), strict=True)
    return [Predicted(score, low, high) for score, low, high in bounds]


def _history(spec: StudySpec, task: Task, trials: Sequence[Trial], evaluator: Evaluator, read: Reader) -> History:
    scorer = evaluator.scorers.get(task.name)
    outputs = None
    if scorer is not None and spec.method.surrogate in _READS_OUTPUTS:
        outputs = _outputs(task, trials, scorer, read, exact=spec.method.name == "exact")
    return History(
        coefficients=stack_coefficients([trial.proposal.coefficients for trial in trials], evaluator.gram.shape[0]),
        scores=torch.tensor([trial.scores[task.name] for trial in trials], dtype=torch.float64),
        scale=_scale(task, scorer),
        outputs=outputs,
    )


def _scale(task: Task, scorer: Scorer | None) -> Scale:
    metric = task.measure
    told = task.examples if isinstance(task, ExternalTask) else None
    examples = told if scorer is None else scorer.examples("search")
    return Scale(metric.low, metric.high, metric.maximize, examples, metric.proportion)


def _outputs(task: Task, trials: Sequence[Trial], scorer: Scorer, read: Reader, exact: bool) -> Outputs | None:
    digests = [trial.outputs.get(task.name) for trial in trials]
    stored = [digest for digest in digests if digest is not None]
    if len(stored) < len(digests):
        return None
    # the bounds of a score say enough of its sampling noise; other surrogates do not ask for it
    unbounded = task.measure.low is None or task.measure.high is None
    values = torch.stack([unpack_outputs(read(digest)) for digest in stored])
    return Outputs(values, scorer.score, scorer.smooth, scorer.classes, scorer.deviation if exact and unbounded else None)
