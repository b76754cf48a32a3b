"""A headless Chromium that can reach nothing but this machine, before a service in memory."""

import shutil

import pytest

from app.main import build_app
from tests.app.api import conftest as service
from tests.browser.chromium import Browser
from tests.live import Live

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
collect_ignore = [] if CHROMIUM else ["test_docs.py", "test_explorer.py"]

files, make_house, house = service.files, service.make_house, service.house


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CHROMIUM:
        terminalreporter.write_line("Not run: the pages in a browser; they need chromium on the path (apt-get install chromium).")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def live(house):
    with Live(build_app(house.service)) as served:
        yield served
