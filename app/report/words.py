"""Diagnostics in words: which surrogate a task got and why, how sure it is, and whether more evaluations would pay."""

import math
from dataclasses import dataclass

from app.domain.front import Fit, Front
from app.domain.study import Study
from app.domain.task import Task

# below a tenth of what the front spans, neighbours on the front are told apart
_SURE_ENOUGH = 0.10
_MOST_WORTHWHILE = 4


@dataclass(frozen=True)
class Verdict:
    """Sentences on one task's surrogate."""

    task: str
    which: str
    why: str
    how_sure: str
    coverage: str
    more: str


def verdicts(study: Study, front: Front) -> tuple[Verdict, ...]:
    """One verdict a task, in the front's order."""
    tasks = {task.name: task for task in study.spec.tasks}
    return tuple(
        Verdict(
            task=fit.task,
            which=f"{fit.surrogate}, fitted to {fit.trials} trials",
            why=_why(study, fit),
            how_sure=_how_sure(tasks[fit.task], front, fit),
            coverage=_coverage(front, fit.task),
            more=_more(front, fit),
        )
        for fit in front.fits
    )


def error_share(front: Front, fit: Fit) -> float | None:
    """Leave-one-out RMSE over the range of predicted scores that the front spans on the task; None where it spans none."""
    scores = [point.predicted[fit.task].score for point in front.points]
    span = max(scores) - min(scores) if scores else 0.0
    return fit.loo_rmse / span if span > 0 and math.isfinite(fit.loo_rmse) else None


def _why(study: Study, fit: Fit) -> str:
    reason = fit.details.get("choice")
    if isinstance(reason, str) and reason:
        return f"Chosen: {reason}."
    if study.spec.method.surrogate == "auto":
        return "Chosen by leave-one-out error among the surrogates that could be fitted."
    return "The study asked for it."


def _how_sure(task: Task, front: Front, fit: Fit) -> str:
    if not math.isfinite(fit.loo_rmse):
        return "Its error could not be estimated: too few trials to leave one out."
    told = f"A trial left out of the fit is predicted to within {fit.loo_rmse:.3g} of {task.metric} (root mean square)"
    share = error_share(front, fit)
    return f"{told}." if share is None else f"{told}: {100 * share:.0f} % of the range that the front spans on this task."


def _coverage(front: Front, task: str) -> str:
    pairs = [(point.predicted[task], point.search[task]) for point in front.points if task in point.search]
    if not pairs:
        return "No point was verified."
    inside = sum(found.low <= score <= found.high for found, score in pairs)
    return f"{inside} of {len(pairs)} verified scores lie in their 95 % interval (these trials are part of the fit)."


def _more(front: Front, fit: Fit) -> str:
    share = error_share(front, fit)
    if share is None:
        return "The points do not differ on this task: more trials would not change the choice."
    if share <= _SURE_ENOUGH:
        return "More trials would hardly change which point is chosen."
    needed = math.ceil(fit.trials * ((share / _SURE_ENOUGH) ** 2 - 1))
    if needed > _MOST_WORTHWHILE * fit.trials:
        return "More trials alone will not do: try another surrogate or a smaller box, and trust measured scores only."
    return f"About {needed} more trials would bring the error down to a tenth of the front's range, if it falls with the square root."
