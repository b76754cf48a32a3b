"""What the engine works with: the ports, and where it gets its evaluators from."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from app.blobs.port import Blobs
from app.domain.study import Study
from app.domain.trial import Lease
from app.jobs.port import Jobs
from app.store.port import Store
from workers.evaluators.protocol import Evaluator

LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Workshop:
    """`owner`: what this process is called in leases, which last `lease_seconds`. `clock`: seconds since the epoch.

    `evaluator_of` may be slow: give it the memory of `keep_latest`. `guard` is held while a trial is measured: whoever watches this
    process from outside knows by it which lease a measurement stands on.
    """

    store: Store
    blobs: Blobs
    jobs: Jobs
    evaluator_of: Callable[[Study], Evaluator]
    owner: str
    lease_seconds: float = LEASE_SECONDS
    clock: Callable[[], float] = time.time
    guard: Callable[[Lease], AbstractContextManager[None]] = lambda lease: nullcontext()


def keep_latest(build: Callable[[Study], Evaluator]) -> Callable[[Study], Evaluator]:
    """`build`, but a study in a row with itself gets the evaluator that it had; only one is alive at a time."""
    kept: dict[str, Evaluator] = {}

    def evaluator_of(study: Study) -> Evaluator:
        if study.id not in kept:
            kept.clear()  # before the next one is built: two model sets may not fit the device
            kept[study.id] = build(study)
        return kept[study.id]

    return evaluator_of
