"""The API alone, as a real process; it needs no broker to take bytes."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.serving import PATIENCE, eventually


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])


class ApiProcess:
    """On `data`, at a free port."""

    def __init__(self, data: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.data = data
        self.url = f"http://127.0.0.1:{self.port}"
        options = ["--data", str(data), "--port", str(self.port), "--broker", settings.pop("broker", "redis://127.0.0.1:9/0")]
        self._environment = os.environ | {"OMP_NUM_THREADS": "1"} | settings
        self._command = [sys.executable, "-m", "app.cli", "api", *options]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, env=self._environment)
        eventually(self.lives, "the API answers", PATIENCE)

    def lives(self) -> bool:
        assert self.process.poll() is None
        try:
            return self.ask("GET", "/healthz").status == 200
        except urllib.error.URLError:
            return False

    def ask(self, method: str, path: str, content: object = None, **headers: str) -> Answer:
        """`content`: bytes as they are, anything else as JSON."""
        if content is not None and not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), headers | {"Content-Type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, content, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
