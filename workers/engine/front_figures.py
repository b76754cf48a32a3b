"""What a front is worth: hypervolumes from one stated reference point, win rates, preference regret. Pure."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from app.domain.front import Figures, FrontPoint, ReferencePoint
from app.domain.study import StudySpec
from surrogate.figures import hypervolume, preference_regret, preference_weights, reference_point, win_rate
from workers.engine.arrays import Scores, directions, stack_utilities
from workers.engine.normalised import normalise, own_scores

PREFERENCES = 1000
PREFERENCE_SEED = 0


def worst_of(spec: StudySpec, rows: Sequence[Scores]) -> Scores:
    """The reference point of hypervolumes, in the metrics' own sign: the worst of `rows` in every task, a tenth of their range lower."""
    corner = reference_point(stack_utilities(spec, rows)) * directions(spec)
    return dict(zip((task.name for task in spec.tasks), corner.tolist(), strict=True))


def figures_of(
    spec: StudySpec,
    points: Sequence[FrontPoint],
    individuals: Sequence[ReferencePoint],
    baselines: Sequence[ReferencePoint],
    reference: Scores,
) -> Figures:
    """What `points` are worth, measured from `reference`; figures that need what was not measured are None."""
    report = [point.report for point in points if point.report]
    volume = _volume(spec, [_predicted(point) for point in points], reference)
    return Figures(
        hypervolume=0.0 if volume is None else volume,
        reference=reference,
        measured_hypervolume=_volume(spec, [point.search for point in points if point.search], reference),
        report_hypervolume=_volume(spec, report, reference),
        win_rate=_win_rates(spec, stack_utilities(spec, report), baselines),
        preference_regret=_regret(spec, [point for point in points if point.report], individuals),
    )


def _predicted(point: FrontPoint) -> Scores:
    return {task: predicted.score for task, predicted in point.predicted.items()}


def _volume(spec: StudySpec, rows: Sequence[Scores], reference: Scores) -> float | None:
    return hypervolume(stack_utilities(spec, rows), stack_utilities(spec, [reference])[0]) if rows else None


def _win_rates(spec: StudySpec, ours: Tensor, baselines: Sequence[ReferencePoint]) -> Mapping[str, float]:
    if not len(ours):
        return {}
    return {one.name: win_rate(ours, stack_utilities(spec, [one.report])) for one in baselines if one.report}


def _regret(spec: StudySpec, points: Sequence[FrontPoint], individuals: Sequence[ReferencePoint]) -> float | None:
    """Preference regret of choosing among `points`, which have report scores, by what is predicted for them."""
    own_search = own_scores(spec, {one.name: one.search for one in individuals if one.search})
    own_report = own_scores(spec, {one.name: one.report for one in individuals if one.report})
    if not points or own_search is None or own_report is None:
        return None
    predicted = normalise(spec, own_search, [_predicted(point) for point in points])
    measured = normalise(spec, own_report, [point.report for point in points])
    return preference_regret(predicted, measured, preference_weights(len(spec.tasks), PREFERENCES, PREFERENCE_SEED))
