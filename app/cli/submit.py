"""`mergefront submit`: a study for a service, with everything that it names."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from app.cli.console import err, progress_bar
from app.cli.run import StudyFailedError
from app.client.follow import Told, follow
from app.client.parcels import Parcel, address, pack
from app.client.service import ServiceClient, open_client
from app.client.upload import missing_files, register, upload
from app.domain.errors import ManifestError
from app.domain.study import StudyStatus
from app.manifest.read import load_document, override, parse_manifest

CANCELLED = 3


@dataclass(frozen=True)
class Submission:
    """What the command was asked for."""

    manifest: Path
    server: str
    key: str = ""
    wait: bool = False
    settings: Sequence[str] = ()


def run_submit(submission: Submission) -> None:
    """Sends a study and, where that was asked for, follows it to its end. Raises MergefrontError; exits with 3 where it was cancelled."""
    with open_client(submission.server, submission.key) as service:
        study = send_study(service, submission.manifest, submission.settings)
        typer.echo(study["id"])
        err.print(f"{escape(study['name'])} is {study['status']}: {service.http.base_url.join(study['links']['self'])}")
        if submission.wait:
            check_end(follow_study(service, study["id"]))


def send_study(service: ServiceClient, manifest: Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The study of a manifest file, as the service has it: sent anew, or the one that was sent before and has not come to nothing.

    Raises ManifestError, RefusedError with every fault; UnavailableError.
    """
    document = override(load_document(manifest), settings)
    spec, faults = parse_manifest(document, manifest.resolve().parent)
    if spec is None or faults:
        raise ManifestError(faults)
    parcels = pack(spec)
    _send_files(service, parcels.values())
    return _create(service, address(document, spec, register(service, parcels)))


def follow_study(service: ServiceClient, study_id: str) -> Mapping[str, Any]:
    """The study once it has ended, shown on the way."""
    counts: Counter[str] = Counter()
    with progress_bar() as progress:
        bar = progress.add_task("trials", total=None)
        for event in follow(service, study_id):
            _count(counts, event)
            progress.update(bar, completed=counts["done"], total=counts["proposed"] or None)
    ended: Mapping[str, Any] = service.get(f"/v1/studies/{study_id}")
    return ended


def check_end(study: Mapping[str, Any]) -> None:
    """Raises StudyFailedError where it failed; exits with 3 where it was cancelled."""
    if study["status"] == StudyStatus.FAILED:
        raise StudyFailedError(f"the study failed: {study['failure']['message']}")
    err.print(f"{escape(study['name'])} is {study['status']}")
    if study["status"] == StudyStatus.CANCELLED:
        raise typer.Exit(CANCELLED)


def _send_files(service: ServiceClient, parcels: Iterable[Parcel]) -> None:
    lacking = missing_files(service, parcels)
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        bar = progress.add_task("", total=sum(path.stat().st_size for path in lacking.values()))
        for digest, path in lacking.items():
            upload(service, digest, path, lambda count: progress.advance(bar, count))


def _create(service: ServiceClient, document: Mapping[str, Any]) -> dict[str, Any]:
    # the same request has the same key: whatever is cut or sent twice makes one study, until it came to nothing
    seed = json.dumps(document, sort_keys=True, default=str)
    while True:
        key = hashlib.sha256(seed.encode()).hexdigest()
        study: dict[str, Any] = service.post("/v1/studies", document, {"Idempotency-Key": f'"{key}"'})
        if study["status"] not in (StudyStatus.FAILED, StudyStatus.CANCELLED):
            return study
        seed += study["id"]


def _count(counts: Counter[str], event: Told) -> None:
    if event.kind == "trials.proposed":
        counts["proposed"] += event.data["count"]
    counts["done"] += event.kind in ("trial.finished", "trial.failed")
