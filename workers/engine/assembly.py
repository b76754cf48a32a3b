"""The front as the domain keeps it, put together from a study's trials and fits. Pure but for the versions it names."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from app.domain.columns import columns
from app.domain.front import Front, FrontPoint, ReferencePoint
from app.domain.trial import Trial, TrialStatus
from workers.engine.arrays import Evidence, Scores, list_coefficients, list_predictions
from workers.engine.fits import Fits, describe_fits, predict_tasks
from workers.engine.front_figures import figures_of, worst_of
from workers.engine.merges import Merge, fitted_trials, measured_scores, merge_of
from workers.engine.references import Reference, known_references
from workers.engine.selection import Selection, select_points, standing_trials

PACKAGES = ("mergefront", "torch", "numpy", "scipy", "scikit-learn", "botorch", "pymoo", "moocore", "transformers", "safetensors")


def assemble_front(study_id: str, trials: Sequence[Trial], evidence: Evidence, fits: Fits) -> Front:
    """The result of a study whose trials are all in: its points, with everything that is known of them."""
    spec = evidence.spec
    selection = select_points(evidence, fits, standing_trials(spec, trials))
    search, report = measured_scores(trials, "search"), measured_scores(trials, "report")
    known = {one: _reference_point(one, search, report) for one in known_references(spec, evidence.dimension, trials)}
    measured = {one: point for one, point in known.items() if point.search or point.report}
    points = _points(selection, fits, report)
    individuals = tuple(point for one, point in measured.items() if one.family == "individual")
    base = next((point for one, point in measured.items() if one.family == "base"), None)
    baselines = tuple(point for one, point in measured.items() if one.is_baseline)
    reference = worst_of(spec, _unmerged(individuals, base) or [trial.scores for trial in fitted_trials(trials)])
    return Front(
        study_id=study_id,
        columns=columns(spec, evidence.groups),
        tasks=tuple(task.name for task in spec.tasks),
        points=points,
        fits=describe_fits(evidence, fits),
        figures=figures_of(spec, points, individuals, baselines, reference),
        baselines=baselines,
        individuals=individuals,
        base=base,
        evaluations=_evaluations(trials),
        versions=_versions(),
    )


def _reference_point(one: Reference, search: Mapping[Merge, Scores], report: Mapping[Merge, Scores]) -> ReferencePoint:
    return ReferencePoint(one.name, one.coefficients, search.get(one.merge, {}), report.get(one.merge, {}))


def _points(selection: Selection, fits: Fits, report: Mapping[Merge, Scores]) -> tuple[FrontPoint, ...]:
    predicted = list_predictions(predict_tasks(fits, selection.coefficients))
    rows = list_coefficients(selection.coefficients)
    return tuple(
        FrontPoint(row, at_row) if trial is None else FrontPoint(row, at_row, trial.scores, report.get(merge_of(trial.proposal), {}))
        for row, at_row, trial in zip(rows, predicted, selection.measured, strict=True)
    )


def _unmerged(individuals: Sequence[ReferencePoint], base: ReferencePoint | None) -> list[Scores]:
    """Search scores of what there was before any merge."""
    return [one.search for one in (*individuals, base) if one is not None and one.search]


def _evaluations(trials: Sequence[Trial]) -> dict[str, int]:
    """Finished trials by `origin:split`, and `failed` where some are."""
    done = Counter(
        "failed" if trial.status == TrialStatus.FAILED else f"{trial.proposal.origin}:{trial.proposal.split}" for trial in trials
    )
    return dict(done)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
