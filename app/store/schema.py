"""The schema's revisions: bringing a database to the newest, and refusing one that is not there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.domain.errors import UnavailableError
from app.store.engine import connect, reading, writing

_MIGRATIONS = Path(__file__).parent / "migrations"
# any number, the same in every release: upgraders of one PostgreSQL database wait for each other on it
_LOCK = 7_120_503_418


def upgrade(url: str) -> None:
    """Brings the database to this release's schema, in one transaction; does nothing where it is there. Raises UnavailableError."""
    engine = connect(url)
    try:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _refuse_newer(connection)
            command.upgrade(_config(connection), "head")
    finally:
        engine.dispose()


def check_revision(url: str) -> None:
    """Raises UnavailableError unless the database has exactly this release's schema."""
    engine = connect(url)
    try:
        with reading(engine) as connection:
            _refuse_newer(connection)
            if _current(connection) != _scripts().get_current_head():
                raise UnavailableError("the database has not this release's schema yet: run `mergefront db upgrade`")
    finally:
        engine.dispose()


def _refuse_newer(connection: Connection) -> None:
    current = _current(connection)
    if current is not None and current not in {script.revision for script in _scripts().walk_revisions()}:
        raise UnavailableError(f"the database's schema, revision {current}, is of a newer release: use that one")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_MIGRATIONS))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
