"""The tasks that Celery runs: each looks up what is to be done in the rows, and may be run any number of times.

What measures is imported in the process that measures, never in the one that only deals out work.
"""

from functools import cache
from typing import TYPE_CHECKING

from celery import current_app, shared_task

from app.config import Settings
from app.journal import start_journal
from workers.acknowledgement import SureRequest

if TYPE_CHECKING:
    from workers.engine.workshop import Workshop
    from workers.finetuning.job import Bench

SETTINGS = "mergefront_settings"


@shared_task(name="advance_study", Request=SureRequest)  # type: ignore[untyped-decorator]
def advance_study(study_id: str) -> None:
    """Takes a study one step further."""
    from workers.engine.advance import advance

    advance(_workshop(), study_id)


@shared_task(name="measure_trial", Request=SureRequest)  # type: ignore[untyped-decorator]
def measure_trial(trial_id: str) -> None:
    """Measures a trial that waits."""
    from workers.engine.measure import measure

    measure(_workshop(), trial_id)


@shared_task(name="train_adapter", Request=SureRequest)  # type: ignore[untyped-decorator]
def train_adapter(finetune_id: str) -> None:
    """Trains a piece of a fine-tuning that waits."""
    from workers.finetuning.job import carry_out

    carry_out(_bench(), finetune_id)


@cache
def _bench() -> "Bench":
    from workers.runtime import open_bench

    settings = Settings(**current_app.conf[SETTINGS])
    start_journal(settings.log_level)
    return open_bench(settings)


@cache
def _workshop() -> "Workshop":
    from workers.runtime import open_workshop

    settings = Settings(**current_app.conf[SETTINGS])
    start_journal(settings.log_level)
    return open_workshop(settings)
