"""`mergefront demo`: the main job from nothing, on real data, through a service of its own."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.markup import escape

from app.cli.console import err, out
from app.cli.embedded import embedded_service
from app.cli.prepare import prepare
from app.cli.submit import check_end, follow_study, send_study
from app.cli.summary import print_summary
from app.client.download import download
from app.client.service import ServiceClient
from app.demo.digits import write_model_set
from app.domain.errors import MergefrontError
from app.domain.front import Front, FrontPoint
from app.domain.study import ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.trial import Proposal
from app.report.reading import read_document
from app.report.summary import balanced_point
from workers.evaluators.build import build_evaluator

PAGES: Mapping[str, str] = MappingProxyType(
    {
        "front.json": "front?format=json",
        "front.csv": "front?format=csv",
        "trials.csv": "trials?format=csv",
        "front.png": "front.png",
        "report.html": "report",
    }
)


class ReadBackError(MergefrontError):
    """A merged checkpoint does not score what its trial scored."""

    code = "read_back"


def run_demo(directory: Path) -> None:
    """Trains a model set, has a service search it, fetches the balanced point's merge, and measures that merge again from its file."""
    began = time.monotonic()
    models, data = directory.resolve() / "models", directory.resolve() / "service"
    with embedded_service(data, [f"{models / 'net.py'}:Net"]) as embedded:
        err.print("training a base and three fine-tunes on scikit-learn's digits")
        manifest = write_model_set(models, err.print)
        spec = prepare(manifest, ())
        embedded.await_ready()
        service = embedded.client
        study_id, front = _searched(service, manifest, spec, directory)
        _tell_choice(service, study_id, spec)
        number, point = _balanced(spec, study_id, front)
        merged = directory / "merged"
        _fetch_merge(service, study_id, number, merged)
    _check_read_back(spec, merged, point)
    out.print(f"look at {escape(str(directory / 'report.html'))}; done in {time.monotonic() - began:.0f} s")


def _searched(service: ServiceClient, manifest: Path, spec: StudySpec, directory: Path) -> tuple[str, Front]:
    """The study's id and front, its pages fetched and its table printed."""
    sent = send_study(service, manifest, [f"architecture.factory={manifest.parent / 'net.py'}:Net"])
    err.print(f"{sent['name']} is sent to {service.http.base_url}: {sent['id']}")
    check_end(follow_study(service, sent["id"]))
    place = f"/v1/studies/{sent['id']}"
    for name, page in PAGES.items():
        download(service, f"{place}/{page}", directory / name)
    front = read_document(service.get(f"{place}/front")).front
    print_summary(_as_study(spec, sent["id"]), front)
    out.print(f"{escape(str(directory))}: {', '.join(PAGES)}")
    return sent["id"], front


def _as_study(spec: StudySpec, study_id: str) -> Study:
    now = datetime.now(UTC)
    return Study(study_id, spec, StudyStatus.FINISHED, created=now, updated=now)


def _tell_choice(service: ServiceClient, study_id: str, spec: StudySpec) -> None:
    first = spec.tasks[0].name
    wish: dict[str, Any] = {"weights": {task.name: 2.0 if task.name == first else 1.0 for task in spec.tasks}}
    choice = service.post(f"/v1/studies/{study_id}/choose", wish)
    told = ", ".join(f"{task} {found['score']:.3f}" for task, found in choice["predicted"].items())
    at = ", ".join(f"{value:.2f}" for value in choice["coefficients"])
    out.print(f"where {escape(first)} counts twice: coefficients {at}, predicted {told}; chosen without an evaluation")


def _balanced(spec: StudySpec, study_id: str, front: Front) -> tuple[int, FrontPoint]:
    number = balanced_point(_as_study(spec, study_id), front)
    assert number is not None  # accuracies normalise, and the demo verifies points
    return number, front.points[number]


def _fetch_merge(service: ServiceClient, study_id: str, number: int, directory: Path) -> None:
    merge = service.post(f"/v1/studies/{study_id}/merges", {"point": number})
    for file in service.get(merge["links"]["files"])["items"]:
        download(service, file["href"], directory / file["name"])


def _check_read_back(spec: StudySpec, merged: Path, point: FrontPoint) -> None:
    """Measures the fetched weights as a base of their own. Raises ReadBackError when a score differs from the point's."""
    alone = replace(spec, models=ModelSetSpec(str(merged), spec.models.tuned))
    scores = build_evaluator(alone, "cpu").evaluate(Proposal("verify", "report", (0.0,) * len(spec.models.tuned))).scores
    if dict(scores) != dict(point.report):
        raise ReadBackError(f"{merged} scores {dict(scores)}, but its trial scored {dict(point.report)}")
    told = ", ".join(f"{task} {score:.3f}" for task, score in scores.items())
    out.print(f"{escape(str(merged))}: read back and measured again on the report split: {told}; the same as its trial")
