"""The process that wakes what was lost, every few seconds, without flooding the broker with what merely waits its turn."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event

from app.blobs.opening import open_place
from app.blobs.port import Blobs
from app.config import Settings
from app.domain.errors import UnavailableError
from app.domain.finetune import Finetune
from app.jobs.celery_producer import CeleryJobs
from app.jobs.port import Job, JobName, Jobs
from app.store.catalog import Catalog
from app.store.port import Store
from app.store.sql import open_store
from app.store.sql_catalog import open_catalog
from workers.engine.sweep import sweep

log = logging.getLogger(__name__)


class PatientJobs(Jobs):
    """Sends through `jobs`; what is asked for in round after round goes out only after twice the time as before, from `seconds` on."""

    def __init__(self, jobs: Jobs, seconds: float, clock: Callable[[], float]) -> None:
        self._jobs = jobs
        self._seconds = seconds
        self._clock = clock
        self._before: dict[Job, tuple[float, float]] = {}
        self._asked: dict[Job, tuple[float, float]] = {}

    def begin(self, afresh: bool) -> None:
        """A new round. What the last one did not ask for, or everything when `afresh`, goes out at once when it is asked for again."""
        self._before, self._asked = {} if afresh else self._asked, {}

    def send(self, name: JobName, subject: str) -> None:
        job, now = Job(name, subject), self._clock()
        due, wait = self._before.get(job, (now, self._seconds))
        if now >= due:
            self._jobs.send(name, subject)
            due, wait = now + wait, 2 * wait
        self._asked[job] = (due, wait)

    def check(self) -> None:
        self._jobs.check()


def run_sweeper(settings: Settings, stop: Event) -> None:
    """Sweeps until `stop` is set; what is out of reach is tried again with the next round."""
    store, jobs = open_store(settings.database_url), CeleryJobs(settings.broker)
    catalog = open_catalog(settings.database_url)
    blobs = open_place(settings.blobs, settings.data, settings.s3_endpoint, settings.cache_bytes)
    patient, grace = PatientJobs(jobs, settings.sweep_seconds, time.time), timedelta(seconds=settings.grace_seconds)
    while not stop.wait(settings.sweep_seconds):
        _round(store, catalog, jobs, patient)
        _sweep_out(catalog, blobs, grace)
    jobs.close()
    catalog.close()
    store.close()


def sweep_finetunes(catalog: Catalog, jobs: Jobs, now: float) -> None:
    """Wakes every fine-tuning that nobody trains at `now`, seconds since the epoch."""
    for finetune in catalog.every(Finetune):
        if finetune.waits(now):
            jobs.send("train_adapter", finetune.id)


def sweep_blobs(catalog: Catalog, blobs: Blobs, before: datetime) -> int:
    """Deletes the bytes that nobody has held or announced since before then. Returns how many."""
    return sum(catalog.discard(digest, before, blobs.delete) for digest in catalog.unheld(before))


def _sweep_out(catalog: Catalog, blobs: Blobs, grace: timedelta) -> None:
    try:
        if deleted := sweep_blobs(catalog, blobs, datetime.now(UTC) - grace):
            log.info("deleted %d blobs that nobody holds", deleted)
    except UnavailableError as error:
        log.warning("no bytes are deleted: %s", error)


def _round(store: Store, catalog: Catalog, jobs: CeleryJobs, patient: PatientJobs) -> None:
    try:
        # where no job waits its turn, what is still open was lost
        patient.begin(afresh=not jobs.waiting())
        sweep(store, patient, time.time())
        sweep_finetunes(catalog, patient, time.time())
    except UnavailableError as error:
        log.warning("nothing is swept: %s", error)
