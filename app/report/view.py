"""What the page's scripts draw from: a study in short plain lists, tasks in the front's order throughout."""

from collections.abc import Mapping, Sequence

from app.domain.front import Fit, Front, FrontPoint, ReferencePoint
from app.domain.study import Study
from app.domain.trial import Trial
from app.report.marks import measured_groups
from app.report.normalised import Own, own_scores
from app.report.progress import hypervolume_progress
from app.report.summary import balanced_point

Row = list[float | None]


def page_view(study: Study, trials: Sequence[Trial], front: Front, source: str) -> dict[str, object]:
    """Plain JSON values. `source`: the run's directory or the study's id, as `mergefront merge` takes it."""
    tasks = front.tasks
    own = own_scores(study, front, "search"), own_scores(study, front, "report")
    return {
        "source": source,
        "tasks": _tasks(study, front),
        "columns": list(front.columns),
        "points": [_point(point, tasks, own) for point in front.points],
        "balanced": balanced_point(study, front) or 0,
        "samples": [
            _row(one, tasks) for group in measured_groups(study, trials, front) if group.label == "samples" for one in group.scores
        ],
        "references": [
            *(_reference(one.name.partition(" ")[0].replace("_", " "), one, tasks) for one in front.baselines),
            *(_reference("tuned alone", one, tasks) for one in front.individuals),
            *([_reference("base", front.base, tasks)] if front.base is not None else []),
        ],
        "fits": [_fit(fit) for fit in front.fits],
        "progress": hypervolume_progress(study, trials, front),
    }


def _tasks(study: Study, front: Front) -> list[dict[str, object]]:
    specs = {task.name: task for task in study.spec.tasks}
    return [{"name": name, "metric": specs[name].metric, "maximize": specs[name].measure.maximize} for name in front.tasks]


def _point(point: FrontPoint, tasks: Sequence[str], own: tuple[Own, Own]) -> dict[str, object]:
    predicted = [point.predicted[task] for task in tasks]
    return {
        "c": list(point.coefficients),
        "predicted": [found.score for found in predicted],
        "low": [found.low for found in predicted],
        "high": [found.high for found in predicted],
        "search": _row(point.search, tasks) if point.search else None,
        "report": _row(point.report, tasks) if point.report else None,
        "share": [own[0].share(task, found.score) for task, found in zip(tasks, predicted, strict=True)],
        "report_share": [own[1].share(task, point.report.get(task)) for task in tasks],
    }


def _reference(label: str, one: ReferencePoint, tasks: Sequence[str]) -> dict[str, object]:
    search = _row(one.search, tasks) if one.search else None
    return {"label": label, "name": one.name, "search": search, "report": _row(one.report, tasks) if one.report else None}


def _row(scores: Mapping[str, float], tasks: Sequence[str]) -> Row:
    return [scores.get(task) for task in tasks]


def _fit(fit: Fit) -> dict[str, object]:
    return {"task": fit.task, "predicted": list(fit.predicted), "measured": list(fit.measured), "rmse": fit.loo_rmse}
