"""`mergefront serve` as a real process, looked at from outside: its parts, its rows, its HTTP."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from app.store.engine import sqlite_url
from app.store.sql import SqlStore, open_store
from workers.broker import socket_of

# how a part is known by the words of its command
ROLES = {
    "supervisor": " serve ", "API": " api ", "sweeper": " sweeper ", "worker": " worker ", "child": "billiard.spawn",
    "watcher": "workers.watcher", "broker": "unixsocket:",
}
MARK = "MERGEFRONT_E2E_MARK"
PATIENCE = 240.0


def eventually(found: Callable[[], object], what: str, seconds: float = PATIENCE) -> object:
    """What `found` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)
    return result


@dataclass
class Serving:
    """A service on `data`, and everything that it started, found by a mark in the environment that all of them inherit."""

    data: Path
    settings: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    port: int = 0
    process: subprocess.Popen | None = None

    def start(self) -> "Serving":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = os.environ | {"OMP_NUM_THREADS": "1", MARK: self.mark} | self.settings
        self.log = (self.data.parent / f"{self.data.name}.log").open("a")
        self.process = subprocess.Popen(self.command(), env=environment, stdout=self.log, stderr=self.log)
        eventually(self.ready, "the service is ready")
        return self

    def command(self) -> list[str]:
        return [sys.executable, "-m", "app.cli", "serve", "--data", str(self.data), "--port", str(self.port)]

    def ready(self) -> bool:
        assert self.process.poll() is None, f"serve ended: {Path(self.log.name).read_text()[-4000:]}"
        try:
            return self.get("/readyz")["ready"]
        except OSError:
            return False

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.load(answer)

    def processes(self) -> dict[int, str]:
        """Everything alive of this service, by process id; what is no part goes by its command."""
        found = {}
        for process in psutil.process_iter():
            try:
                words = f" {' '.join(process.cmdline())} "
                # the broker writes its title over its environment: it is known by its socket
                ours = str(self.broker()) in words or process.environ().get(MARK) == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = next((role for role, sign in ROLES.items() if sign in words), words)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def pids(self, role: str) -> list[int]:
        return [pid for pid, found in self.processes().items() if found == role]

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def broker(self) -> Path:
        return socket_of(self.data)

    @contextmanager
    def store(self) -> Iterator[SqlStore]:
        opened = open_store(self.settings.get("MERGEFRONT_DATABASE") or sqlite_url(self.data / "records.sqlite"))
        yield opened
        opened.close()

    def end(self) -> None:
        """Ends whatever is left, without asking."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.processes():
            kill_if_alive(pid)
        self.log.close()


def kill_if_alive(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
