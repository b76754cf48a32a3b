"""Normalised scores: how a merge compares with the model that was tuned for the task alone."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from app.domain.study import StudySpec
from app.domain.trial import Trial
from surrogate.figures import normalised_scores
from workers.engine.arrays import Scores, stack_scores
from workers.engine.merges import Merge, measured_scores
from workers.engine.references import Reference, references


def own_scores(spec: StudySpec, individuals: Mapping[str, Scores]) -> Scores | None:
    """The score of each task's own model: the tuned one of the same name, else the one that is best on the task.

    `individuals`: measured scores of the tuned models, by name. None where none was measured.
    """
    if not individuals:
        return None
    return {task.name: _own(task.name, task.measure.maximize, individuals) for task in spec.tasks}


def measured_own_scores(spec: StudySpec, dimension: int, trials: Sequence[Trial]) -> Scores | None:
    """The score of each task's own model on the search split, as `trials` measured it; None where they measured no tuned model."""
    return own_scores(spec, individual_scores(references(spec, dimension), measured_scores(trials, "search")))


def individual_scores(named: Sequence[Reference], measured: Mapping[Merge, Scores]) -> Mapping[str, Scores]:
    """Scores of the tuned models alone, by name, those that were measured."""
    alone = [reference for reference in named if reference.family == "individual"]
    return {reference.name: measured[reference.merge] for reference in alone if reference.merge in measured}


def normalise(spec: StudySpec, own: Scores, rows: Sequence[Scores]) -> Tensor:
    """`rows` relative to `own`, n x T: 1 is as good as the task's own model, larger is better.

    Ratios where all scores of the task are positive, else 1 plus the difference.
    """
    scores, yardstick = stack_scores(spec, rows), stack_scores(spec, [own])[0]
    columns = [_relative(scores[:, place], yardstick[place], task.measure.maximize) for place, task in enumerate(spec.tasks)]
    return torch.stack(columns, 1)


def _own(task: str, maximize: bool, individuals: Mapping[str, Scores]) -> float:
    if task in individuals:
        return individuals[task][task]
    return (max if maximize else min)(scores[task] for scores in individuals.values())


def _relative(scores: Tensor, own: Tensor, maximize: bool) -> Tensor:
    if bool(own > 0) and (maximize or bool((scores > 0).all())):
        return normalised_scores(scores[:, None], own[None], [maximize])[:, 0]
    return 1.0 + (scores - own) * (1.0 if maximize else -1.0)
