"""What one measuring process works with, opened once: records, bytes, wake-ups, device, the evaluator of the latest study."""

import os
import socket
from collections.abc import Callable
from functools import cache, partial

from app.actions.finetunes import local_finetune, register_adapter
from app.actions.localise import Source, local_spec
from app.actions.register import Registry
from app.blobs.opening import open_place, open_remotes, open_results
from app.config import Settings
from app.domain.study import Study, StudySpec
from app.jobs.celery_producer import CeleryJobs
from app.store.sql import open_store
from app.store.sql_catalog import open_catalog
from workers.device import find_device
from workers.engine.workshop import Workshop, keep_latest
from workers.evaluators.build import open_evaluator
from workers.evaluators.protocol import Evaluator
from workers.finetuning.job import Bench
from workers.guard import Guard

Localise = Callable[[Study], StudySpec]
"""The spec of a study with every registered id in it replaced by a path on this machine."""


def open_workshop(settings: Settings) -> Workshop:
    """The workshop of this process; no other process and no fork of this one may use it.

    Raises RefusedError for a device that is not here, UnavailableError where a place cannot be reached.
    """
    store = open_store(settings.database_url)
    blobs = open_place(settings.blobs, settings.data, settings.s3_endpoint, settings.cache_bytes)
    remotes = open_remotes(settings.buckets, settings.hub, settings.data, settings.s3_endpoint, settings.cache_bytes)
    source = Source(blobs, settings.data / "local", remotes)
    localise = partial(local_spec, open_catalog(settings.database_url), source)
    return Workshop(
        store,
        open_results(settings.blobs, settings.data, settings.s3_endpoint, settings.cache_bytes),
        CeleryJobs(settings.broker),
        keep_latest(_builder(settings, localise)),
        owner=f"{socket.gethostname()}-{os.getpid()}",
        lease_seconds=settings.lease_seconds,
        guard=_guard(settings.database_url, settings.lease_seconds),
    )


def open_bench(settings: Settings) -> Bench:
    """What this process trains adapters with. Raises as `open_workshop`."""
    open_store(settings.database_url).close()
    catalog = open_catalog(settings.database_url)
    blobs = open_place(settings.blobs, settings.data, settings.s3_endpoint, settings.cache_bytes)
    remotes = open_remotes(settings.buckets, settings.hub, settings.data, settings.s3_endpoint, settings.cache_bytes)
    source = Source(blobs, settings.data / "local", remotes)
    return Bench(
        catalog,
        CeleryJobs(settings.broker),
        partial(local_finetune, catalog, source),
        partial(register_adapter, Registry(catalog, source)),
        settings.data / "finetunes",
        f"{socket.gethostname()}-{os.getpid()}",
        find_device(settings.device),
        settings.lease_seconds,
        guard=_guard(settings.database_url, settings.lease_seconds),
    )


@cache
def _guard(database: str, lease_seconds: float) -> Guard:
    """One for all that this process does, which is one thing at a time."""
    return Guard(database, lease_seconds)


def _builder(settings: Settings, localise: Localise) -> Callable[[Study], Evaluator]:
    device = find_device(settings.device)
    memory = None if settings.memory_gb is None else int(settings.memory_gb * 1e9)
    return lambda study: open_evaluator(localise(study), device, memory)
