"""The heartbeat that keeps a lease while a trial is measured."""

import logging
import threading
from types import TracebackType
from typing import Self

from app.domain.errors import ConflictError, NotFoundError, UnavailableError
from app.domain.trial import Lease
from workers.engine.workshop import Workshop

BEATS_PER_LEASE = 3

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews `lease` from a thread of its own while the block runs; `lost` once it belongs to somebody else."""

    def __init__(self, workshop: Workshop, lease: Lease) -> None:
        self._workshop = workshop
        self._lease = lease
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {lease.trial_id}", daemon=True)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        seconds = self._workshop.lease_seconds
        while not self._stop.wait(seconds / BEATS_PER_LEASE) and not self.lost:
            try:
                self._lease = self._workshop.store.renew(self._lease, seconds, self._workshop.clock())
            except (ConflictError, NotFoundError) as error:
                log.warning("trial %s: the lease is lost: %s", self._lease.trial_id, error)
                self._lost.set()
            except UnavailableError as error:
                # the store may be back before the lease runs out; if not, the record is refused by its token
                log.warning("trial %s: no heartbeat: %s", self._lease.trial_id, error)
