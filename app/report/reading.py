"""Reading front.json back: what a later command needs to choose a point of a finished run and merge it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from app.domain.errors import Fault, RefusedError
from app.domain.front import Figures, Fit, Front, FrontPoint, Predicted, ReferencePoint
from app.domain.study import ModelSetSpec, SpaceSpec, TransformSpec
from app.report.schema import (
    SCHEMA,
    FiguresEntry,
    FrontDocument,
    PointEntry,
    ReferenceEntry,
    SurrogateEntry,
    document_adapter,
)


@dataclass(frozen=True)
class RecordedRun:
    """A finished run as its front.json tells it. `maximize`: the direction of each task; `digests`: sha256 of the inputs by name."""

    name: str
    models: ModelSetSpec
    space: SpaceSpec
    transform: TransformSpec
    maximize: Mapping[str, bool]
    front: Front
    digests: Mapping[str, str]


def read_document(document: object) -> RecordedRun:
    """The run that `document` (parsed JSON) tells of, equal to what it was written from. Raises RefusedError with every fault."""
    _check_version(document)
    try:
        checked = document_adapter().validate_python(document)
    except ValidationError as error:
        raise RefusedError([Fault(".".join(map(str, found["loc"])), found["msg"]) for found in error.errors()]) from error
    groups = checked["space"]["groups"]
    return RecordedRun(
        name=checked["study"]["name"],
        models=ModelSetSpec(checked["models"]["base"], checked["models"]["tuned"]),
        space=SpaceSpec(
            checked["space"]["low"],
            checked["space"]["high"],
            tuple(groups) if isinstance(groups, list) else "block" if groups == "block" else "task",
        ),
        transform=TransformSpec(**checked["transform"]),
        maximize={task["name"]: task["direction"] == "maximize" for task in checked["tasks"]},
        front=_front(checked),
        digests=checked["digests"],
    )


def _check_version(document: object) -> None:
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise RefusedError([Fault("schema", f"expected {SCHEMA!r}, got {found!r}: this is no front.json that this version reads")])


def _front(document: FrontDocument) -> Front:
    return Front(
        study_id=document["study"]["id"],
        columns=tuple(document["columns"]),
        tasks=tuple(task["name"] for task in document["tasks"]),
        points=tuple(_point(entry) for entry in document["points"]),
        fits=tuple(_fit(entry) for entry in document["surrogates"]),
        figures=_figures(document["figures"]),
        baselines=_references(document["baselines"]),
        individuals=_references(document["individuals"]),
        base=None if document["base"] is None else _reference("base", document["base"]),
        evaluations=document["evaluations"],
        versions=document["versions"],
    )


def _point(entry: PointEntry) -> FrontPoint:
    predicted = {task: Predicted(**found) for task, found in entry["predicted"].items()}
    return FrontPoint(tuple(entry["coefficients"]), predicted, entry["search"], entry["report"])


def _references(entries: Mapping[str, ReferenceEntry]) -> tuple[ReferencePoint, ...]:
    return tuple(_reference(name, entry) for name, entry in entries.items())


def _reference(name: str, entry: ReferenceEntry) -> ReferencePoint:
    return ReferencePoint(name, tuple(entry["coefficients"]), entry["search"], entry["report"])


def _fit(entry: SurrogateEntry) -> Fit:
    return Fit(
        task=entry["task"],
        surrogate=entry["surrogate"],
        trials=entry["trials"],
        r2=_number(entry["r2"]),
        loo_r2=_number(entry["loo_r2"]),
        loo_rmse=_number(entry["loo_rmse"]),
        details=entry["details"],
        predicted=tuple(entry["predicted"]),
        measured=tuple(entry["measured"]),
    )


def _figures(entry: FiguresEntry) -> Figures:
    return Figures(
        hypervolume=_number(entry["hypervolume"]),
        reference=entry["reference"],
        measured_hypervolume=entry["measured_hypervolume"],
        report_hypervolume=entry["report_hypervolume"],
        win_rate=entry["win_rate"],
        preference_regret=entry["preference_regret"],
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
