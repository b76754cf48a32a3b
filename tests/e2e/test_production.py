"""The processes of the compose file, with its commands and its environment, on a real Redis and a real PostgreSQL.

Runs where `redis-server` is installed and MERGEFRONT_TEST_POSTGRES names a server (see conftest).
"""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.contracts.conftest import made_database
from tests.e2e.serving import PATIENCE, eventually

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())["services"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def production(tmp_path, model_set):
    """Starts services of the compose file by name, and tells where the API listens. Addresses are this machine's, the rest the file's."""
    redis_port, api_port = free_port(), free_port()
    started = []
    with made_database("postgresql", tmp_path) as database:
        here = {
            "MERGEFRONT_DATABASE": database, "MERGEFRONT_BROKER": f"redis://127.0.0.1:{redis_port}/0", "MERGEFRONT_DATA": str(tmp_path),
            "MERGEFRONT_DIRECTORIES": str(model_set.parent), "MERGEFRONT_FACTORIES": f"{model_set.parent}/net.py:Net",
        }

        def start(name):
            service = COMPOSE[name]
            unset = {key: "" for key in service.get("environment", {}) if key.startswith(("MERGEFRONT_", "AWS_"))}
            words = service["command"]
            if words[0] == "mergefront":
                words = [sys.executable, "-m", "app.cli", *words[1:]]
            words = [{"0.0.0.0": "127.0.0.1", "8000": str(api_port)}.get(word, word) for word in words]
            if name == "redis":
                words = [*words, "--port", str(redis_port), "--dir", str(tmp_path)]
            environment = os.environ | unset | (here if unset else {}) | {"OMP_NUM_THREADS": "1"}
            with (tmp_path / f"{name}.log").open("w") as log:
                started.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True))
            return started[-1]

        yield start, f"http://127.0.0.1:{api_port}"
        for process in started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def ask(url, body=None):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except OSError:
        return {}


def test_a_study_over_http_is_finished(production, model_set):
    start, url = production
    start("redis")
    assert start("migrate").wait(PATIENCE) == 0
    parts = [start(name) for name in ("api", "sweeper", "worker")]
    eventually(lambda: ask(f"{url}/readyz").get("ready"), "the API is ready")
    study = ask(f"{url}/v1/studies", yaml.safe_load(model_set.read_text()))
    over = eventually(lambda: (now := ask(f"{url}/v1/studies/{study['id']}"))["status"] not in ("submitted", "running") and now, "it ends")
    assert (over["status"], over["failure"]) == ("finished", None)
    assert len(ask(f"{url}/v1/studies/{study['id']}/front")["points"]) > 1
    for process in parts:
        process.terminate()
    codes = [process.wait(PATIENCE) for process in parts]
    assert codes == [-signal.SIGTERM, 0, 0]  # uvicorn ends in order, then passes the signal on
