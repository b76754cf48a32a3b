"""A service of real processes, and a model set small enough that they have little to do."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import compose
from tests.e2e.api_process import ApiProcess
from tests.e2e.models import write_model_set
from tests.e2e.postgres import programs
from tests.e2e.serving import Serving

MISSING = [
    need
    for need, there in {
        "redis-server on the path (apt-get install redis-server)": shutil.which("redis-server"),
        "a PostgreSQL server named in MERGEFRONT_TEST_POSTGRES": os.environ.get("MERGEFRONT_TEST_POSTGRES"),
    }.items()
    if not there
]
CURL = shutil.which("curl")
JQ = shutil.which("jq")
collect_ignore = [
    file
    for file, there in {"test_production.py": not MISSING, "test_uploads_curl.py": CURL, "test_compose.py": compose.program()}.items()
    if not there
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(f"Not run: the compose file's processes; they need {' and '.join(MISSING)}.")
    if not compose.program():
        terminalreporter.write_line("Not run: the check of the compose file; it needs docker compose (apt-get install docker-compose).")
    if not CURL:
        terminalreporter.write_line("Not run: the page on uploads; it needs curl on the path (apt-get install curl).")
    if not (CURL and JQ):
        terminalreporter.write_line("Not run: the CI job in shell; it needs curl and jq on the path (apt-get install curl jq).")
    if not programs():
        terminalreporter.write_line("Not run: disturbances of PostgreSQL; they need its programs (apt-get install postgresql).")


@pytest.fixture(scope="session")
def model_set(tmp_path_factory) -> Path:
    """The manifest's path."""
    return write_model_set(tmp_path_factory.mktemp("models"))


@pytest.fixture
def mood(model_set):
    """The file that makes measurements stand still while it exists."""
    file = model_set.with_name("mood")
    yield file
    file.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def api(tmp_path_factory) -> Iterator[ApiProcess]:
    """The API alone, without anything behind it but its own directory."""
    started = ApiProcess(tmp_path_factory.mktemp("api"))
    yield started
    started.kill()


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """Makes services, started, with short leases; none of their processes outlives the module."""
    made = []

    def make(data=None, **settings):
        folder = data or tmp_path_factory.mktemp("service") / "data"
        brief = {"MERGEFRONT_LEASE_SECONDS": "10", "MERGEFRONT_SWEEP_SECONDS": "1"}
        made.append(Serving(folder, brief | settings))
        return made[-1].start()

    yield make
    for one in made:
        one.end()
