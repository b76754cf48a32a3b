"""Normalised scores: what a merge keeps of the model that was tuned for the task alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.front import Front
from app.domain.study import Study
from app.domain.task import Split


@dataclass(frozen=True)
class Own:
    """The scores of each task's own model on one split, by task, and each task's direction."""

    scores: Mapping[str, float]
    maximize: Mapping[str, bool]

    def share(self, task: str, score: float | None) -> float | None:
        """M_t(c) / M_t(own model), turned for metrics where smaller is better: 1 is as good as the own model, above 1 better.

        None where the score or the own model's is missing or not positive, since a ratio would mean nothing there.
        """
        own = self.scores.get(task)
        if score is None or own is None or score <= 0 or own <= 0:
            return None
        return score / own if self.maximize[task] else own / score

    def mean_share(self, scores: Mapping[str, float]) -> float | None:
        """The mean over all tasks; None where a task has none."""
        shares = [self.share(task, scores.get(task)) for task in self.maximize]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known and len(known) == len(shares) else None

    def worst_share(self, scores: Mapping[str, float]) -> float | None:
        """The share of the task that fares worst; None where a task has none."""
        shares = [self.share(task, scores.get(task)) for task in self.maximize]
        known = [share for share in shares if share is not None]
        return min(known) if known and len(known) == len(shares) else None


def own_scores(study: Study, front: Front, split: Split) -> Own:
    """Each task's own model is the tuned one of the same name; where none is called so, the tuned one that scores best on the task."""
    maximize = {task.name: task.measure.maximize for task in study.spec.tasks}
    scores = {}
    for task, larger in maximize.items():
        measured = {one.name: one.search if split == "search" else one.report for one in front.individuals}
        found = {name: split_scores[task] for name, split_scores in measured.items() if task in split_scores}
        if found:
            scores[task] = found.get(task, max(found.values()) if larger else min(found.values()))
    return Own(scores, maximize)
