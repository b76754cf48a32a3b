"""Adapters under contract, and small studies for them.

PostgreSQL takes part where MERGEFRONT_TEST_POSTGRES names a server (`postgresql://user@/database?host=/socket/directory`);
each test has its own schema there. Where it does not, the last line of the run says so.
"""

import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, make_url, text

from app.domain.front import Figures, Fit, Front, FrontPoint, Predicted, ReferencePoint
from app.domain.ids import new_id
from app.domain.study import FactoryArchitecture, ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.task import ExternalTask, SplitShares, TaskSpec
from app.domain.trial import Proposal
from app.store.catalog import Catalog
from app.store.engine import sqlite_url
from app.store.memory import MemoryStore
from app.store.memory_catalog import MemoryCatalog
from app.store.memory_rows import MemoryRows
from app.store.port import Store
from app.store.schema import upgrade
from app.store.sql import open_store
from app.store.sql_catalog import open_catalog

settings.register_profile("contracts", deadline=None)
settings.load_profile("contracts")

POSTGRES = os.environ.get("MERGEFRONT_TEST_POSTGRES")
DATABASES = ("sqlite", "postgresql") if POSTGRES else ("sqlite",)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not POSTGRES:
        terminalreporter.write_line("Not run: the store's contract on PostgreSQL; name a server in MERGEFRONT_TEST_POSTGRES to run it.")


@contextmanager
def made_database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield sqlite_url(folder / "records.db")
        return
    schema = f"test_{secrets.token_hex(6)}"
    server = create_engine(make_url(POSTGRES), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        url = server.url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
        upgrade(url)
        yield url
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


@pytest.fixture(params=DATABASES)
def database(request, tmp_path) -> Iterator[str]:
    """The URL of an empty database with this release's schema (SQLite's is made when opened)."""
    with made_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=("memory", *DATABASES))
def store(request, tmp_path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with made_database(request.param, tmp_path) as url:
        opened = open_store(url)
        yield opened
        opened.close()


@pytest.fixture(params=("memory", *DATABASES))
def records(request, tmp_path) -> Iterator[tuple[Store, Catalog]]:
    """A store, and the catalog beside it."""
    if request.param == "memory":
        rows = MemoryRows()
        yield MemoryStore(rows=rows), MemoryCatalog(rows)
        return
    with made_database(request.param, tmp_path) as url:
        store, catalog = open_store(url), open_catalog(url)
        yield store, catalog
        catalog.close()
        store.close()


@pytest.fixture
def make_study() -> Callable[..., Study]:
    def make(study_id: str = "", status: StudyStatus = StudyStatus.RUNNING, elsewhere: Collection[str] = ()) -> Study:
        born = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
        tasks = tuple(
            ExternalTask(name, "rating", low=0.0)
            if name in elsewhere
            else TaskSpec(name, f"/data/{name}.safetensors", "accuracy", SplitShares())
            for name in ("zeros", "ones")
        )
        models = ModelSetSpec("/models/base", {"zeros": "/models/z", "ones": "/models/o", "a": "/models/a"})
        spec = StudySpec("digits", models, FactoryArchitecture("net.py", "Net"), tasks)
        return Study(study_id or new_id("study"), spec, status, born, born, digests={"base": "ab" * 32})

    return make


@pytest.fixture
def make_proposals() -> Callable[[int], list[Proposal]]:
    return lambda count: [Proposal("design", "search", (place / 7, -0.0, 1 / 3)) for place in range(count)]


@pytest.fixture
def make_front() -> Callable[[str], Front]:
    def make(study_id: str) -> Front:
        points = tuple(
            FrontPoint((share, 1 - share), {"zeros": Predicted(share, share - 0.1, share + 0.1)}, {"zeros": share / 3})
            for share in (0.1, 0.2, 0.7)
        )
        fit = Fit("zeros", "quadratic", 20, 0.9, -0.2, 1e-17, {"rank": 6, "condition": 1e9, "names": ["a", None]}, (0.1,), (0.3,))
        base = ReferencePoint("base", (0.0, 0.0), {"zeros": 0.1}, {"zeros": 0.11})
        figures = Figures(0.1 + 0.2, {"zeros": 0.0}, win_rate={"average": 1.0})
        counts, versions = {"design": 20}, {"torch": "2"}
        return Front(study_id, ("zeros", "ones"), ("zeros",), points, (fit,), figures, (base,), (base,), base, counts, versions)

    return make


@pytest.fixture
def proposed_trial(store, make_study, make_proposals) -> str:
    """The id of the first of three proposed trials of a running study."""
    study = make_study()
    store.add_study(study)
    return store.propose(study.id, 0, make_proposals(3))[0].id
