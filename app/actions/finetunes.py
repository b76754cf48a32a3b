"""Use cases of fine-tunings: asked for, looked at, cancelled. Workers do the training."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from app.actions.admission import Allowance, admit
from app.actions.localise import Source, local_spec
from app.actions.register import Given, Registry, register_checkpoint, register_dataset
from app.blobs.digest import digest_of_file
from app.domain.errors import ConflictError, Fault, UnavailableError
from app.domain.finetune import Finetune, FinetuneSpec, FinetuneStatus
from app.domain.ids import new_id
from app.domain.study import Study, StudyStatus
from app.domain.upload import Holding
from app.jobs.port import JobName, Jobs
from app.store.catalog import Catalog
from checkpoints.layout import ADAPTER, ADAPTER_CONFIG, HEAD

JOB: JobName = "train_adapter"
_KEYS = {"models.base": "base", "tasks.task.data": "task.data", "tasks.task.head": "task.head"}
log = logging.getLogger(__name__)
_TRIES = 20  # a worker changes the same row about once a second


def admit_finetune(catalog: Catalog, tenant: str, spec: FinetuneSpec, allowance: Allowance) -> tuple[str, list[Fault]]:
    """The digest of what is asked of which bytes, and what is wrong with the inputs that it names."""
    digests, faults = admit(catalog, tenant, spec.as_study(), allowance)
    named = [Fault(_KEYS.get(fault.where, fault.where), fault.problem) for fault in faults]
    return _digest(spec, digests), named


def submit_finetune(
    catalog: Catalog, jobs: Jobs, tenant: str, spec: FinetuneSpec, digest: str, finetune_id: str | None = None
) -> Finetune:
    """A new fine-tuning, written down and waked. Raises ConflictError when the id exists."""
    now = datetime.now(UTC)
    made = Finetune(finetune_id or new_id("finetune"), tenant, digest, spec, FinetuneStatus.SUBMITTED, now, now)
    made = made.with_event("finetune.submitted", now)
    catalog.add(made)
    try:
        jobs.send(JOB, made.id)
    except UnavailableError as error:
        # the row is written: the sweeper finds it once the broker is back
        log.warning("%s is written but not waked: %s", made.id, error)
    return made


def cancel_finetune(catalog: Catalog, finetune: Finetune) -> Finetune:
    """Cancelled; whoever trains it stops within seconds. Does nothing to one that is. Raises ConflictError where it has ended otherwise."""
    for _ in range(_TRIES):
        if finetune.status is FinetuneStatus.CANCELLED:
            return finetune
        cancelled = finetune.cancelled(datetime.now(UTC))
        try:
            catalog.replace(finetune, cancelled)
        except ConflictError:
            finetune = catalog.one(Finetune, finetune.tenant, finetune.id)
        else:
            return cancelled
    raise ConflictError(f"{finetune.id} changes too fast to be cancelled: ask again in a moment")


def _digest(spec: FinetuneSpec, digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([asdict(spec), dict(digests)], sort_keys=True).encode()).hexdigest()


def local_finetune(catalog: Catalog, source: Source, finetune: Finetune) -> FinetuneSpec:
    """Its spec with every registered id in it replaced by a path. Raises as `local_spec`."""
    named = finetune.spec.as_study()
    study = Study(finetune.id, named, StudyStatus.RUNNING, finetune.created, finetune.updated, tenant=finetune.tenant)
    return finetune.spec.named_as(local_spec(catalog, source, study))


def register_adapter(registry: Registry, finetune: Finetune, directory: Path) -> tuple[str, str]:
    """The ids of the adapter in `directory`, and of the linear head that was trained beside it, empty where none was."""
    adapter = _store(registry, finetune, directory, (ADAPTER, ADAPTER_CONFIG))
    checkpoint = register_checkpoint(registry, finetune.tenant, Given(adapter))
    if not (directory / HEAD).exists():
        return checkpoint.id, ""
    return checkpoint.id, register_dataset(registry, finetune.tenant, Given(_store(registry, finetune, directory, (HEAD,)))).id


def _store(registry: Registry, finetune: Finetune, directory: Path, names: Sequence[str]) -> dict[str, str]:
    digests = {name: digest_of_file(directory / name) for name in names}
    for name, digest in digests.items():
        # held first: what nobody holds may be swept away
        registry.catalog.hold(finetune.tenant, Holding(digest, (directory / name).stat().st_size))
        registry.source.blobs.put_file(directory / name)
    return digests
