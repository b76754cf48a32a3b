"""What is drawn of a study, before anything is drawn: groups of merges, each with its look and its scores on the search split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.front import Front, ReferencePoint
from app.domain.study import Study
from app.domain.trial import Trial, TrialStatus
from app.report.summary import balanced_point

# Okabe and Ito's colours: told apart with every common colour vision, and in grey by marker
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, GREY = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#8A8A8A",
)  # fmt: skip
_FAMILIES: Mapping[str, tuple[str, str]] = {
    "average": ("s", GREEN),
    "task_arithmetic": (".", GREEN),
    "ties": ("^", PURPLE),
    "dare": ("v", ORANGE),
}
_WEIGHED = frozenset({"average", "base", "tuned alone", "verified", "balanced, verified"})


@dataclass(frozen=True)
class Group:
    """Merges that are drawn alike. `scores`: one mapping by task a merge; `names`: what to write beside each, or none."""

    label: str
    marker: str
    colour: str
    size: float
    scores: Sequence[Mapping[str, float]]
    names: Sequence[str] = ()
    hollow: bool = False

    def pairs(self, first: str, second: str) -> list[tuple[float, float]]:
        """The merges that were measured on both tasks."""
        return [(one[first], one[second]) for one in self.scores if first in one and second in one]


def measured_groups(study: Study, trials: Sequence[Trial], front: Front) -> tuple[Group, ...]:
    """Everything measured on the search split, back to front: samples, baselines, base, tuned models, verified points, the balanced one."""
    groups = [
        Group("samples", "o", GREY, 14, [trial.scores for trial in trials if _is_sample(trial)]),
        *_baseline_groups(front.baselines),
        Group("base", "X", BLACK, 60, [front.base.search] if front.base is not None else []),
        Group("tuned alone", "*", BLACK, 95, [one.search for one in front.individuals], [one.name for one in front.individuals]),
        Group("verified", "D", VERMILION, 34, [point.search for point in front.points if point.search], hollow=True),
    ]
    balanced = balanced_point(study, front)
    if balanced is not None and front.points[balanced].search:
        groups.append(Group("balanced, verified", "D", VERMILION, 50, [front.points[balanced].search]))
    return tuple(group for group in groups if group.scores)


def predicted_scores(front: Front, task: str) -> tuple[list[float], list[float], list[float]]:
    """Predicted scores of all points on one task, and both ends of their intervals."""
    found = [point.predicted[task] for point in front.points]
    return [one.score for one in found], [one.low for one in found], [one.high for one in found]


def shown_range(front: Front, groups: Sequence[Group], task: str) -> tuple[float, float]:
    """The lowest and the highest score on `task` that a picture shows: the front's, and of what it is weighed against.

    Baselines that collapse and far samples may lie outside: they would press everything else into a corner.
    """
    weighed = [one[task] for group in groups if group.label in _WEIGHED for one in group.scores if task in one]
    shown = [*predicted_scores(front, task)[0], *weighed]
    low, high = min(shown), max(shown)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def count_outside(front: Front, groups: Sequence[Group]) -> int:
    """How many measured merges no picture shows."""
    ranges = {task: shown_range(front, groups, task) for task in front.tasks}

    def is_shown(scores: Mapping[str, float]) -> bool:
        return all(low <= scores[task] <= high for task, (low, high) in ranges.items() if task in scores)

    return sum(not is_shown(one) for group in groups for one in group.scores)


def _is_sample(trial: Trial) -> bool:
    proposal = trial.proposal
    return trial.status is TrialStatus.FINISHED and proposal.split == "search" and proposal.origin in ("design", "adaptive")


def _baseline_groups(baselines: Sequence[ReferencePoint]) -> list[Group]:
    families: dict[str, list[ReferencePoint]] = {}
    for one in baselines:
        families.setdefault(one.name.partition(" ")[0], []).append(one)
    return [_family_group(family, found) for family, found in families.items()]


def _family_group(family: str, found: Sequence[ReferencePoint]) -> Group:
    marker, colour = _FAMILIES.get(family, ("P", SKY))
    return Group(family.replace("_", " "), marker, colour, 44, [one.search for one in found])
