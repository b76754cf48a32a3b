"""Connections to SQLite and PostgreSQL, and transactions on them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.domain.errors import Fault, RefusedError, UnavailableError

BUSY_SECONDS = 30
# ours, not the database's, when one of these comes: never dressed up as an outage
_DEFECTS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


def sqlite_url(path: Path) -> str:
    """The URL of the database in the file `path`."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def connect(url: str) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://user@host/name`.

    Raises RefusedError for other URLs, UnavailableError where the driver is not installed.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    try:
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise UnavailableError("PostgreSQL needs the package psycopg: pip install 'mergefront[postgres]'") from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write; all of it or nothing. Raises UnavailableError."""
    with _reachable(engine), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, and waits for no writer. Raises UnavailableError."""
    with _reachable(engine), _deferred(engine).connect() as connection:
        yield connection


@lru_cache(maxsize=16)
def _deferred(engine: Engine) -> Engine:
    """The same engine, whose transactions wait for no lock until they write."""
    return engine.execution_options(sqlite_begin="BEGIN DEFERRED")


@contextmanager
def _reachable(engine: Engine) -> Iterator[None]:
    try:
        yield
    except _DEFECTS:
        raise
    except (DBAPIError, PoolTimeoutError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise UnavailableError(f"the database {engine.url.render_as_string()} does not serve: {reason}") from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise RefusedError([Fault("database", f"not a URL ({error}); use sqlite:///path or postgresql://user@host/name")]) from error
    backend = parsed.drivername.partition("+")[0]
    if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and parsed.database in (None, "", ":memory:")):
        problem = f"{parsed.render_as_string()} is no database for records; use sqlite:///path or postgresql://user@host/name"
        raise RefusedError([Fault("database", problem)])
    return parsed


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    # the driver's own BEGIN is deferred: two readers that go on to write would lock each other out
    connection.isolation_level = None
    for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))
