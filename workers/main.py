"""The Celery worker: one process that deals out work, and one it spawns that does it, where alone torch and the device are touched."""

import os
import signal

from celery import Celery
from celery.signals import worker_shutting_down

from app.config import Settings
from app.jobs.broker import HARD_SECONDS
from app.jobs.celery_producer import make_celery
from workers.tasks import SETTINGS
from workers.tether import Orphans

# a process that was killed is replaced, and its job laid to rest, after this
LOST_SECONDS = 1.0
# what hands work back to the records has so long for it, less than a service waits before it kills
PARTING_SECONDS = 10.0


def make_worker(settings: Settings) -> Celery:
    """The application of a worker: one job at a time, acknowledged late; a killed job is not dealt out again, its lease brings it back."""
    celery = make_celery(settings.broker)
    celery.conf.update(
        include=["workers.tasks"],
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_time_limit=HARD_SECONDS,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="prefork",
        worker_pool_start_method="spawn",
        worker_lost_wait=LOST_SECONDS,
        worker_proc_alive_timeout=120.0,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_redirect_stdouts=False,
        **{SETTINGS: settings.model_dump(mode="json")},
    )
    return celery


def run_worker(settings: Settings, name: str) -> int:
    """Works until told to end (SIGTERM, SIGINT); the trial in work is then handed back. Returns the exit code."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    orphans = Orphans()

    def end_group(**_details: object) -> None:
        # the measuring process dies with it in the middle of whatever it does, and its watcher hands the trial back: whoever ends this
        # process kills what is left once it is gone, so that it has to outlive the watcher
        orphans.adopt()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(os.getpgrp(), signal.SIGTERM)

    worker_shutting_down.connect(end_group)
    celery = make_worker(settings)
    celery.set_current()
    host = f"{name}@{os.uname().nodename}"
    worker = celery.Worker(hostname=host, without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True)
    worker.start()
    orphans.outlive(PARTING_SECONDS)
    return int(worker.exitcode or 0)
