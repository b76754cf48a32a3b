"""A service of one's own for the length of a command."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.client.service import ServiceClient, open_client
from app.domain.errors import UnavailableError
from workers.tether import tied

READY_SECONDS = 300.0
_END_SECONDS = 60.0
_LAST_WORDS = 2000


@dataclass(frozen=True)
class Embedded:
    """`mergefront serve` as a process of this one's, with a client of it. `log`: what it says."""

    client: ServiceClient
    process: subprocess.Popen[bytes]
    log: Path

    def await_ready(self) -> None:
        """Returns once it serves. Raises UnavailableError with its last words where it does not."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                words = self.log.read_text(encoding="utf-8")[-_LAST_WORDS:]
                raise UnavailableError(f"the service that this command starts does not come up: {words}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            self.client.get("/readyz")
        except UnavailableError:
            return False
        return True


@contextmanager
def embedded_service(data: Path, factories: Sequence[str]) -> Iterator[Embedded]:
    """A service on a free port of this machine, soon ready; it ends with the block, or with this process.

    To be entered from the main thread.
    """
    port, log = _free_port(), data.with_suffix(".log")
    words = ["serve", "--data", str(data), "--port", str(port), "--factories", ",".join(factories)]
    data.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as told, open_client(f"http://127.0.0.1:{port}") as client:
        process = subprocess.Popen(tied([sys.executable, "-m", "app.cli", *words]), stdout=told, stderr=told, start_new_session=True)
        try:
            yield Embedded(client, process, log)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_END_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
