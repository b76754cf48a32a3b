"""The embedded service: broker, API, sweeper and workers under one process that starts, restarts and ends them.

Whatever ends this process, SIGKILL too, ends them all: each is tied to it (see tether).
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import IO

from app.domain.errors import Fault, RefusedError
from workers.tether import tied

BACK_OFF = (0.2, 30.0)
"""Seconds before a part is started again: the first time, and the most that doubling leads to."""
SOUND_SECONDS = 30.0
PATIENCE_SECONDS = 20.0
REFUSED = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One process of the service. `ready`: waits until it serves, given whether it lives."""

    name: str
    command: Sequence[str]
    ready: Callable[[Callable[[], bool]], None] = lambda alive: None


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    since: float
    wait: float = BACK_OFF[0]
    due: float | None = None


@dataclass
class Supervisor:
    """Starts parts in their order and ends them in reverse. `held`: a file that every one of them keeps open."""

    parts: Sequence[Part]
    held: IO[str]
    _running: list[_Running] = field(default_factory=list)

    def run(self, stop: Event, started: Callable[[], None]) -> None:
        """Keeps all parts alive until `stop` is set. Raises RefusedError when one refuses its work, UnavailableError when one cannot start.

        To be called from the main thread, since the parts end with the thread that started them.
        """
        try:
            for part in self.parts:
                self._running.append(_Running(part, self._start(part), time.monotonic()))
            started()
            while not stop.wait(0.1):
                for running in self._running:
                    self._mend(running)
        finally:
            self._end()

    def _start(self, part: Part) -> subprocess.Popen[bytes]:
        # a session of its own: Ctrl-C is for the supervisor alone, which ends the parts in order
        process = subprocess.Popen(
            tied(list(part.command)), stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[self.held.fileno()]
        )
        part.ready(lambda: process.poll() is None)
        return process

    def _mend(self, running: _Running) -> None:
        code, now = running.process.poll(), time.monotonic()
        if code is None:
            return
        if running.due is None:
            self._schedule(running, code, now)
        elif now >= running.due:
            running.process, running.since, running.due = self._start(running.part), now, None

    def _schedule(self, running: _Running, code: int, now: float) -> None:
        if code == REFUSED:
            raise RefusedError([Fault("", f"the {running.part.name} refused to work; its words are above")])
        running.wait = BACK_OFF[0] if now - running.since > SOUND_SECONDS else min(2 * running.wait, BACK_OFF[1])
        running.due = now + running.wait
        log.warning("the %s ended (%s) and is started again in %.1f s", running.part.name, _told(code), running.wait)

    def _end(self) -> None:
        for running in reversed(self._running):
            _end_process(running.part.name, running.process)


def _end_process(name: str, process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, patience, SIGKILL to what is left of its session."""
    if process.poll() is None:
        process.terminate()
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the %s does not end by itself and is killed", name)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def service_parts(options: Mapping[str, str], workers: int, own_broker: Part | None) -> list[Part]:
    """The broker where it is our own, then API, sweeper and workers. `options`: of every command, by name."""
    common = [word for name, value in options.items() for word in (f"--{name}", value)]
    mergefront = [sys.executable, "-m", "app.cli"]
    places = ["--data", options["data"], "--broker", options["broker"]]
    made = [Part("API", [*mergefront, "api", *common]), Part("sweeper", [*mergefront, "sweeper", *places])]
    made += [
        Part(f"worker {number}", [*mergefront, "worker", *places, "--name", f"worker-{number}"]) for number in range(1, workers + 1)
    ]
    return made if own_broker is None else [own_broker, *made]
