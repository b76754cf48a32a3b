"""The working process's side of its watcher: tells it which right the work stands on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from app.domain.trial import Lease
from workers.rights import Right


class Guard:
    """Has a watcher process, started with the first work and again when it is gone. For one piece of work at a time."""

    def __init__(self, database: str, lease_seconds: float) -> None:
        self._greeting = {"database": database, "lease_seconds": lease_seconds, "child": os.getpid()}
        self._watcher: subprocess.Popen[bytes] | None = None

    @contextmanager
    def __call__(self, right: Right) -> Iterator[None]:
        """While the block runs, this process is killed within seconds of the right's loss, whatever it is doing."""
        self._tell({"lease" if isinstance(right, Lease) else "claim": asdict(right)})
        try:
            yield
        finally:
            self._tell(None)

    def _tell(self, message: object) -> None:
        if self._watcher is None or self._watcher.poll() is not None:
            self._watcher = self._start()
        try:
            self._write(message)
        except BrokenPipeError:  # it died between the look and the word
            self._watcher = self._start()
            self._write(message)

    def _start(self) -> subprocess.Popen[bytes]:
        self._watcher = subprocess.Popen([sys.executable, "-m", "workers.watcher"], stdin=subprocess.PIPE)
        self._write(self._greeting)
        return self._watcher

    def _write(self, message: object) -> None:
        assert self._watcher is not None and self._watcher.stdin is not None
        self._watcher.stdin.write(json.dumps(message).encode() + b"\n")
        self._watcher.stdin.flush()
