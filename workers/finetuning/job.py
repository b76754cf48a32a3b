"""Carries out a fine-tuning that was asked for: in pieces, under a lease, from its row to a registered checkpoint."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from app.domain.errors import ConflictError, MeasurementError, NotFoundError, RefusedError, StaleLeaseError, UnavailableError
from app.domain.finetune import Claim, Finetune, FinetuneSpec, Progress
from app.domain.study import Failure
from app.jobs.port import Jobs
from app.store.catalog import Catalog
from checkpoints.errors import CheckpointError
from workers.finetuning.finetune import finetune, finished_scores
from workers.finetuning.train import Advance

BEAT_SECONDS = 1.0
EPOCH = "finetune.epoch"

log = logging.getLogger(__name__)


class PieceDoneError(Exception):
    """The piece of work that one job does is done: the rest is another's."""


@dataclass(frozen=True)
class Bench:
    """What fine-tunings are carried out with.

    `localise`: the spec with paths on this machine. `register`: the ids of checkpoint and head (empty where none trained) of what a
    directory holds. `place`: where states are kept. `piece_seconds`: after how long others get their turn. `guard` is held while a piece
    is trained: whoever watches this process from outside knows by it which claim the training stands on.
    """

    catalog: Catalog
    jobs: Jobs
    localise: Callable[[Finetune], FinetuneSpec]
    register: Callable[[Finetune, Path], tuple[str, str]]
    place: Path
    owner: str
    device: str
    lease_seconds: float = 60.0
    piece_seconds: float = 60.0
    clock: Callable[[], float] = time.time
    guard: Callable[[Claim], AbstractContextManager[None]] = lambda claim: nullcontext()


class Held:
    """A fine-tuning under this process's lease, renewed by a thread while the block runs; `lost` once the row is no longer ours."""

    def __init__(self, bench: Bench, held: Finetune) -> None:
        self._bench, self._held = bench, held
        self._lock, self._stop, self._lost = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {held.id}", daemon=True)
        self.progress = held.progress

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    @property
    def finetune(self) -> Finetune:
        """As it was last written."""
        return self._held

    def change(self, change: Callable[[Finetune], Finetune]) -> None:
        """Writes what `change` makes of the row. Raises StaleLeaseError where it is no longer ours."""
        with self._lock:
            changed = change(self._held)
            try:
                self._bench.catalog.replace(self._held, changed)
            except (ConflictError, NotFoundError) as error:
                self._lost.set()
                raise StaleLeaseError(f"{self._held.id}: cancelled, or taken over by another") from error
            self._held = changed

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(min(BEAT_SECONDS, self._bench.lease_seconds / 3)) and not self.lost:
            try:
                until = self._bench.clock() + self._bench.lease_seconds
                self.change(lambda row, until=until: replace(row, until=until, progress=self.progress, updated=_now()))  # type: ignore[misc]
            except StaleLeaseError as error:
                log.warning("%s", error)
            except UnavailableError as error:
                # the rows may be back before the lease runs out; if not, what is written is refused
                log.warning("%s: no heartbeat: %s", self._held.id, error)


def carry_out(bench: Bench, finetune_id: str) -> None:
    """Trains a piece of a fine-tuning that waits, and asks for the next, or registers what came out, or writes down why nothing did.

    Does nothing for one that somebody else holds or that has ended. What is not foreseen comes out as it is and leaves the lease to run
    out: the attempt counts, and the third in a row without a whole piece fails the fine-tuning.
    """
    _clear_leftovers(bench)
    held = _claim(bench, finetune_id)
    if held is None:
        return
    try:
        with bench.guard(held.finetune.claim), held:
            _work(bench, held)
    except StaleLeaseError:
        _clear_away(bench, held)
    except PieceDoneError:
        _hand_back(held, further=True)
        bench.jobs.send("train_adapter", finetune_id)
    except (RefusedError, NotFoundError, CheckpointError, MeasurementError) as error:
        failure = Failure(error.code, str(error))
        with suppress(StaleLeaseError):
            held.change(lambda row: row.failed(failure, _now()))
        shutil.rmtree(bench.place / finetune_id, ignore_errors=True)
    except (ConflictError, UnavailableError, KeyboardInterrupt, SystemExit):
        # nothing is wrong with the fine-tuning, but perhaps its files are still in the hands of another: the attempt must not count
        _hand_back(held, further=False)
        raise


def _claim(bench: Bench, finetune_id: str) -> Held | None:
    now = bench.clock()
    found = next((one for one in bench.catalog.every(Finetune) if one.id == finetune_id), None)
    if found is None or not found.waits(now):
        return None
    claimed = found.claimed(bench.owner, now + bench.lease_seconds, _now())
    try:
        bench.catalog.replace(found, claimed)
    except ConflictError:  # somebody else was faster
        return None
    return Held(bench, claimed) if claimed.open else None


def _work(bench: Bench, held: Held) -> None:
    row, directory = held.finetune, bench.place / held.finetune.id
    scores = finished_scores(directory)
    if scores is None:
        scores = finetune(bench.localise(row), directory, bench.device, _listener(bench, held), row.spec.base).scores
    checkpoint, head = bench.register(row, directory)
    held.change(lambda row: row.finished(checkpoint, head, scores, _now()))
    shutil.rmtree(directory)


def _listener(bench: Bench, held: Held) -> Callable[[Advance], None]:
    begun = bench.clock()
    known = sum(event.kind == EPOCH for event in held.finetune.events)

    def tell(advance: Advance) -> None:
        nonlocal known
        held.progress = Progress(advance.step, advance.steps)
        if held.lost:
            raise StaleLeaseError(f"{held.finetune.id}: cancelled, or taken over by another")
        if advance.epoch > known:
            known = advance.epoch
            data = {"epoch": advance.epoch, "step": advance.step, "steps": advance.steps, "held_out": advance.score}
            held.change(lambda row: replace(row, progress=held.progress).with_event(EPOCH, _now(), data))
        if bench.clock() - begun > bench.piece_seconds:
            raise PieceDoneError

    return tell


def _clear_away(bench: Bench, held: Held) -> None:
    """The files of one that was cancelled; of one that was taken over they are another's now."""
    with suppress(NotFoundError):
        if bench.catalog.one(Finetune, held.finetune.tenant, held.finetune.id).open:
            return
    shutil.rmtree(bench.place / held.finetune.id, ignore_errors=True)


def _clear_leftovers(bench: Bench) -> None:
    """The files of fine-tunings that have ended: whoever trained them was killed before it could clear them away."""
    # in this order: a directory that another worker makes from now on is not among them
    directories = list(bench.place.iterdir()) if bench.place.is_dir() else []
    open_ones = {one.id for one in bench.catalog.every(Finetune) if one.open}
    for directory in directories:
        if directory.name not in open_ones:
            shutil.rmtree(directory, ignore_errors=True)


def _hand_back(held: Held, further: bool) -> None:
    with suppress(StaleLeaseError):  # then it is no longer ours to hand back
        held.change(lambda row: replace(row, progress=held.progress).handed_back(_now(), further))


def _now() -> datetime:
    return datetime.now(UTC)
