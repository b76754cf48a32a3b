"""Watches one working process from outside, where no interpreter lock and no long computation can hold it up.

It reads from its input, a line each: how to reach the records, then the right that the process works under, the lease of a trial or the
claim of a fine-tuning, or null. It kills the process when the rows no longer grant that right (cancelled, taken over) or it ran out
unrenewed (the process hangs or was stopped). Told to end (SIGTERM, which reaches the whole process group), it kills the process and
hands its work back, so that the attempt does not count. It ends with the process that it watches.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from app.domain.errors import UnavailableError
from app.domain.finetune import Claim
from app.domain.trial import Lease
from app.journal import start_journal
from app.store.sql import open_store
from app.store.sql_catalog import open_catalog
from workers.rights import Right, Rights, name_of

LOOK_SECONDS = 1.0
# the word that the work is over may arrive after the look that saw its right gone
LOOKS_IN_DOUBT = 2
# the process and its watcher are told to end together: its end may be seen first
PARTING_SECONDS = 0.5

Word = Right | Literal["idle", "end", "gone"]

log = logging.getLogger(__name__)


class Watcher:
    """`kill` ends the watched process at once; `lease_seconds`: how long a right lasts between heartbeats."""

    def __init__(self, rights: Rights, kill: Callable[[], None], lease_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._rights = rights
        self._kill = kill
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._right: Right | None = None
        self._doubts = 0

    def hear(self, right: Right | None) -> None:
        """What the process works on from now."""
        self._right, self._doubts = right, 0

    def look(self) -> None:
        """Kills the process once its right was found gone twice in a row."""
        if self._right is None:
            return
        self._doubts = 0 if self._stands(self._right) else self._doubts + 1
        if self._doubts >= LOOKS_IN_DOUBT:
            log.warning("%s: its lease is gone, the work on it is stopped", name_of(self._right))
            self._kill()
            self.hear(None)

    def end(self) -> None:
        """Kills the process and hands back what it worked on."""
        self._kill()
        if self._right is not None and self._rights.give_back(self._right):
            log.info("%s: handed back", name_of(self._right))

    def _stands(self, right: Right) -> bool:
        try:
            until = self._rights.until(right)
        except UnavailableError as error:
            log.warning("%s: its lease cannot be looked at: %s", name_of(right), error)
            return True
        # records that were out of reach kept a sound process from renewing: it gets time for it
        return until is not None and until >= self._clock() - self._lease_seconds / 2


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
            case Lease() | Claim():
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
        words.put(_word(json.loads(line)))
    words.put("gone")


def _word(told: Mapping[str, Any] | None) -> Word:
    match told:
        case {"lease": fields}:
            return Lease(**fields)
        case {"claim": fields}:
            return Claim(**fields)
        case _:
            return "idle"


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
    catalog = open_catalog(greeting["database"])
    threading.Thread(target=_listen, args=(words,), daemon=True).start()
    watch(Watcher(Rights(store, catalog), kill, greeting["lease_seconds"]), words)
    catalog.close()
    store.close()


if __name__ == "__main__":
    main()
