"""The rows that matter, out of everything a study found: for the terminal and for the head of the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.domain.front import Front, FrontPoint, ReferencePoint
from app.domain.study import Study
from app.report.normalised import Own, own_scores

RowKind = Literal["point", "baseline", "individual", "base"]


@dataclass(frozen=True)
class SummaryRow:
    """One merge in a table. `name`: what to call it; `point`: its number on the front, None for what is no point of it.

    `predicted`, `search`, `report`: scores by task in the metric's own sign, empty where there are none. `search_mean`, `report_mean`:
    mean normalised score on the split (1 is as good as every task's own model), None where a task lacks one.
    """

    kind: RowKind
    name: str
    point: int | None
    coefficients: tuple[float, ...]
    predicted: Mapping[str, float]
    search: Mapping[str, float]
    report: Mapping[str, float]
    search_mean: float | None
    report_mean: float | None


def summary_rows(study: Study, front: Front) -> tuple[SummaryRow, ...]:
    """The balanced point, the best point of each task, the baselines (best first), the tuned models alone, the base.

    Points are chosen by predicted scores, among the verified ones where there are any: no row is picked by the scores that it shows.
    """
    search, report = own_scores(study, front, "search"), own_scores(study, front, "report")
    points = [_point_row(front, number, name, search, report) for number, name in chosen_points(study, front).items()]
    baselines = [_reference_row("baseline", one, search, report) for one in front.baselines]
    individuals = [_reference_row("individual", one, search, report) for one in front.individuals]
    base = [_reference_row("base", front.base, search, report)] if front.base is not None else []
    return (*points, *sorted(baselines, key=_rank), *individuals, *base)


def chosen_points(study: Study, front: Front) -> dict[int, str]:
    """Numbers of the points that matter, with what each is: the balanced one first, then the best of each task."""
    pool = [number for number, point in enumerate(front.points) if point.search] or list(range(len(front.points)))
    names: dict[int, list[str]] = {}
    balanced = balanced_point(study, front)
    if balanced is not None:
        names.setdefault(balanced, []).append("balanced")
    for task in study.spec.tasks if pool else ():
        sign = 1.0 if task.measure.maximize else -1.0
        best = max(pool, key=lambda number: sign * front.points[number].predicted[task.name].score)
        names.setdefault(best, []).append(f"best {task.name}")
    return {number: ", ".join(found) for number, found in names.items()}


def balanced_point(study: Study, front: Front) -> int | None:
    """The point whose worst task keeps most of its own model, as predicted; None where normalised scores mean nothing."""
    own = own_scores(study, front, "search")
    pool = [number for number, point in enumerate(front.points) if point.search] or range(len(front.points))
    worst = {number: own.worst_share(_scores(front.points[number])) for number in pool}
    known = {number: share for number, share in worst.items() if share is not None}
    return max(known, key=lambda number: known[number]) if known else None


def _scores(point: FrontPoint) -> dict[str, float]:
    return {task: found.score for task, found in point.predicted.items()}


def _point_row(front: Front, number: int, name: str, search: Own, report: Own) -> SummaryRow:
    point = front.points[number]
    means = search.mean_share(point.search), report.mean_share(point.report)
    return SummaryRow("point", name, number, point.coefficients, _scores(point), point.search, point.report, *means)


def _reference_row(kind: RowKind, one: ReferencePoint, search: Own, report: Own) -> SummaryRow:
    means = search.mean_share(one.search), report.mean_share(one.report)
    return SummaryRow(kind, one.name, None, one.coefficients, {}, one.search, one.report, *means)


def _rank(row: SummaryRow) -> tuple[bool, float]:
    # families measured on the report split come first: theirs are the scores to compare with
    return not row.report, -(row.search_mean if row.search_mean is not None else float("-inf"))
