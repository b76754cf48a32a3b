"""The document front.json: everything a run found, in plain JSON values."""

import json
import math
from collections.abc import Mapping, Sequence

from app.domain.front import Figures, Fit, Front, FrontPoint, ReferencePoint
from app.domain.study import FactoryArchitecture, Study, StudySpec, TransformSpec
from app.domain.task import Task, TaskSpec
from app.domain.trial import Trial
from app.report.schema import (
    SCHEMA,
    ArchitectureEntry,
    FiguresEntry,
    FrontDocument,
    MethodEntry,
    PointEntry,
    ReferenceEntry,
    SeedsEntry,
    StudyEntry,
    SurrogateEntry,
    TaskEntry,
    TransformEntry,
    TrialEntry,
)

# what one step of a score is counted in; metrics without an entry are plain numbers
_UNITS = {
    "accuracy": "share of right answers",
    "balanced_accuracy": "share of right answers, mean over classes",
    "nll": "nats per example",
    "entropy": "nats per example",
    "mse": "squared unit of the target",
    "mae": "unit of the target",
}


def front_document(study: Study, trials: Sequence[Trial], front: Front) -> FrontDocument:
    """Everything a run found. Scores carry the metric's own sign and unit; figures that are not finite are null."""
    spec = study.spec
    return {
        "schema": SCHEMA,
        "study": _study(study),
        "models": {"base": spec.models.base, "tuned": dict(spec.models.tuned)},
        "architecture": _architecture(spec),
        "space": {
            "low": spec.space.low,
            "high": spec.space.high,
            "groups": spec.space.groups if isinstance(spec.space.groups, str) else list(spec.space.groups),
        },
        "transform": _transform(spec.transform),
        "method": _method(spec),
        "seeds": _seeds(spec),
        "columns": list(front.columns),
        "tasks": [_task(task) for task in spec.tasks],
        "surrogates": [_surrogate(fit) for fit in front.fits],
        "points": [_point(number, point) for number, point in enumerate(front.points)],
        "figures": _figures(front.figures),
        "baselines": {reference.name: _reference(reference) for reference in front.baselines},
        "individuals": {reference.name: _reference(reference) for reference in front.individuals},
        "base": None if front.base is None else _reference(front.base),
        "evaluations": dict(front.evaluations),
        "trials": [_trial(trial) for trial in trials],
        "versions": dict(front.versions),
        "digests": dict(study.digests),
    }


def document_text(document: FrontDocument) -> str:
    """The document as JSON text: keys in their order, numbers that read back to the same float64, one trailing newline."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _study(study: Study) -> StudyEntry:
    return {
        "id": study.id,
        "name": study.spec.name,
        "created": study.created.isoformat(),
        "updated": study.updated.isoformat(),
    }


def _architecture(spec: StudySpec) -> ArchitectureEntry | None:
    found = spec.architecture
    if found is None:
        return None
    if isinstance(found, FactoryArchitecture):
        return {"kind": "factory", "name": f"{found.file}:{found.callable}"}
    return {"kind": "transformers", "name": found.auto_class}


def _transform(transform: TransformSpec) -> TransformEntry:
    return {"name": transform.name, "density": transform.density, "drop": transform.drop, "seed": transform.seed}


def _method(spec: StudySpec) -> MethodEntry:
    return {
        "name": spec.method.name,
        "surrogate": spec.method.surrogate,
        "budget": spec.method.budget,
        "link": spec.method.link,
        "ridge": spec.method.ridge,
        "solver": spec.front.solver,
        "points": spec.front.points,
        "verify": spec.front.verify,
    }


def _seeds(spec: StudySpec) -> SeedsEntry:
    return {
        "method": spec.method.seed,
        "transform": spec.transform.seed,
        "splits": {task.name: task.split.seed for task in spec.tasks_here},
    }


def _task(task: Task) -> TaskEntry:
    return {
        "name": task.name,
        "metric": task.metric,
        "direction": "maximize" if task.measure.maximize else "minimize",
        "unit": _UNITS.get(task.metric, "1"),
        "low": task.measure.low,
        "high": task.measure.high,
        "splits": {"search": task.split.search, "report": task.split.report} if isinstance(task, TaskSpec) else None,
    }


def _surrogate(fit: Fit) -> SurrogateEntry:
    return {
        "task": fit.task,
        "surrogate": fit.surrogate,
        "trials": fit.trials,
        "r2": _finite(fit.r2),
        "loo_r2": _finite(fit.loo_r2),
        "loo_rmse": _finite(fit.loo_rmse),
        "details": {name: _plain(value) for name, value in fit.details.items()},
        "predicted": list(fit.predicted),
        "measured": list(fit.measured),
    }


def _point(number: int, point: FrontPoint) -> PointEntry:
    measured = {"search": dict(point.search), "report": dict(point.report)}
    return {
        "point": number,
        "coefficients": list(point.coefficients),
        "predicted": {task: {"score": found.score, "low": found.low, "high": found.high} for task, found in point.predicted.items()},
        "splits": [split for split in ("search", "report") if measured[split]],
        "search": measured["search"],
        "report": measured["report"],
    }


def _reference(reference: ReferencePoint) -> ReferenceEntry:
    return {
        "coefficients": list(reference.coefficients),
        "search": dict(reference.search),
        "report": dict(reference.report),
    }


def _figures(figures: Figures) -> FiguresEntry:
    return {
        "hypervolume": _finite(figures.hypervolume),
        "measured_hypervolume": _finite(figures.measured_hypervolume),
        "report_hypervolume": _finite(figures.report_hypervolume),
        "reference": dict(figures.reference),
        "win_rate": dict(figures.win_rate),
        "preference_regret": _finite(figures.preference_regret),
    }


def _trial(trial: Trial) -> TrialEntry:
    return {
        "trial": trial.number,
        "origin": trial.proposal.origin,
        "split": trial.proposal.split,
        "label": trial.proposal.label,
        "coefficients": list(trial.proposal.coefficients),
        "transform": _transform(trial.proposal.transform),
        "status": trial.status.value,
        "scores": dict(trial.scores),
        "seconds": trial.seconds,
        "failure": None if trial.failure is None else f"{trial.failure.code}: {trial.failure.message}",
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _plain(value: object) -> object:
    # JSON knows no infinity, and a singular fit has an infinite condition number
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
