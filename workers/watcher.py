"""Watches one measuring process from outside, where no interpreter lock and no long computation can hold it up.

It reads from its input, a line each: how to reach the records, then the lease that the process works under, or null. It kills the
process when that lease is no longer the trial's (cancelled, taken over) or ran out unrenewed (the process hangs or was stopped). Told
to end (SIGTERM, which reaches the whole process group), it kills the process and hands the trial back, so that the attempt does not
count. It ends with the process that it watches.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from app.domain.errors import NotFoundError, StaleLeaseError, UnavailableError
from app.domain.trial import Lease
from app.journal import start_journal
from app.store.port import Store
from app.store.sql import open_store

LOOK_SECONDS = 1.0
# the word that a measurement is over may arrive after the look that saw its lease gone
LOOKS_IN_DOUBT = 2
# the process and its watcher are told to end together: its end may be seen first
PARTING_SECONDS = 0.5

Word = Lease | Literal["idle", "end", "gone"]

log = logging.getLogger(__name__)


class Watcher:
    """`kill` ends the watched process at once; `lease_seconds`: how long a lease lasts between heartbeats."""

    def __init__(self, store: Store, kill: Callable[[], None], lease_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._kill = kill
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._lease: Lease | None = None
        self._doubts = 0

    def hear(self, lease: Lease | None) -> None:
        """What the process works on from now."""
        self._lease, self._doubts = lease, 0

    def look(self) -> None:
        """Kills the process once its lease was found gone twice in a row."""
        if self._lease is None:
            return
        self._doubts = 0 if self._stands(self._lease) else self._doubts + 1
        if self._doubts >= LOOKS_IN_DOUBT:
            log.warning("trial %s: the lease is gone, its measurement is stopped", self._lease.trial_id)
            self._kill()
            self.hear(None)

    def end(self) -> None:
        """Kills the process and hands back what it worked on."""
        self._kill()
        if self._lease is not None:
            with suppress(StaleLeaseError, NotFoundError):
                self._store.release(self._lease)
                log.info("trial %s: handed back", self._lease.trial_id)

    def _stands(self, lease: Lease) -> bool:
        try:
            current = self._store.lease(lease.trial_id)
        except UnavailableError as error:
            log.warning("trial %s: its lease cannot be looked at: %s", lease.trial_id, error)
            return True
        # records that were out of reach kept a sound process from renewing: it gets time for it
        overdue = self._clock() - self._lease_seconds / 2
        return current is not None and current.token == lease.token and current.until >= overdue


def watch(watcher: Watcher, words: "queue.SimpleQueue[Word]") -> None:
    """Looks and listens until the process is gone or the end was ordered."""
    while True:
        word = _next(words, LOOK_SECONDS)
        if word == "gone":
            word = _next(words, PARTING_SECONDS) or "gone"
        match word:
            case "end":
                return watcher.end()
            case "gone":
                return None
            case "idle":
                watcher.hear(None)
            case Lease():
                watcher.hear(word)
            case None:
                watcher.look()


def _next(words: "queue.SimpleQueue[Word]", seconds: float) -> Word | None:
    try:
        return words.get(timeout=seconds)
    except queue.Empty:
        return None


def _listen(words: "queue.SimpleQueue[Word]") -> None:
    for line in sys.stdin:
        given = json.loads(line)
        words.put("idle" if given is None else Lease(**given))
    words.put("gone")


def main() -> None:
    """Watches the process that started this one."""
    start_journal("info")
    words: queue.SimpleQueue[Word] = queue.SimpleQueue()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: words.put("end"))
    greeting = json.loads(sys.stdin.readline())
    child: int = greeting["child"]

    def kill() -> None:
        if os.getppid() == child:  # else it is dead, and its number may be another's
            os.kill(child, signal.SIGKILL)

    store = open_store(greeting["database"])
    threading.Thread(target=_listen, args=(words,), daemon=True).start()
    watch(Watcher(store, kill, greeting["lease_seconds"]), words)
    store.close()


if __name__ == "__main__":
    main()
