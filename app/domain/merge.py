"""Merges: the weights at one coefficient vector, virtual until somebody reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.domain.front import Predicted
from app.domain.study import Study, StudySpec, TransformSpec


@dataclass(frozen=True)
class Merge:
    """A merge of a study that was asked for. `digest`: of inputs, transform and coefficients. `point`: its number on the front, if any.

    `how`: it was named, in words. `pairing`: as in app.domain.front.Front. Scores by task, where known: `predicted`; `search`, `report`.
    `transform`: of its task vectors, None for the study's.
    """

    id: str
    tenant: str
    study_id: str
    coefficients: tuple[float, ...]
    digest: str
    created: datetime
    point: int | None = None
    how: str = ""
    pairing: str = ""
    predicted: Mapping[str, Predicted] = field(default_factory=dict)
    search: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, float] = field(default_factory=dict)
    transform: TransformSpec | None = None

    def study(self, study: Study) -> Study:
        """Its study, under the merge's own transform."""
        return study if self.transform is None else replace(study, spec=replace(study.spec, transform=self.transform))


@dataclass(frozen=True)
class ChosenPoint:
    """A merge to be written. `predicted`, `search`, `report`: scores by task, where known; `intervals`: 95 %, of what is predicted;
    `how`: in words. `digests`: of the inputs, taken at `since`, where there was a study.
    """

    spec: StudySpec
    coefficients: tuple[float, ...]
    how: str
    digests: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    predicted: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    search: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, float] = field(default_factory=dict)


def chosen_point(study: Study, merge: Merge) -> ChosenPoint:
    """What is known of a merge that was asked for."""
    predicted, intervals = told_scores(merge.predicted)
    return ChosenPoint(
        study.spec, merge.coefficients, merge.how, study.digests, study.created, predicted, intervals, merge.search, merge.report
    )


def told_scores(predicted: Mapping[str, Predicted]) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Scores and intervals by task."""
    scores = {task: found.score for task, found in predicted.items()}
    return scores, {task: (found.low, found.high) for task, found in predicted.items()}
