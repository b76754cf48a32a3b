"""The schema: migrations run once, whoever comes first; what is newer or damaged is refused."""

import subprocess
import sys

import pytest
from sqlalchemy import create_engine, inspect, text

from app.domain.errors import RefusedError, UnavailableError
from app.store.engine import sqlite_url
from app.store.schema import check_revision, upgrade
from app.store.sql import open_store
from app.store.tables import metadata

OPEN = "import sys; from app.store.sql import open_store; sys.stdin.readline(); open_store(sys.argv[1]).close()"


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "a b?c#d%20e.db")


@pytest.fixture
def engine(url):
    engine = create_engine(url)
    yield engine
    engine.dispose()


class TestUpgrade:
    def test_twice_is_once(self, url, engine):
        upgrade(url)
        upgrade(url)
        check_revision(url)
        assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}

    def test_by_many_processes_at_once(self, url):
        openers = [subprocess.Popen([sys.executable, "-c", OPEN, url], stdin=subprocess.PIPE, text=True) for _ in range(3)]
        for opener in openers:
            opener.stdin.write("go\n")
            opener.stdin.flush()
        for opener in openers:
            opener.communicate()
        assert [opener.returncode for opener in openers] == [0, 0, 0]
        check_revision(url)

    def test_that_fails_leaves_nothing(self, url, engine):
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE fronts (something TEXT)"))
        with pytest.raises(UnavailableError, match="fronts"):
            upgrade(url)
        assert inspect(engine).get_table_names() == ["fronts"]


class TestRevision:
    def test_of_an_empty_database_is_refused(self, url):
        with pytest.raises(UnavailableError, match="mergefront db upgrade"):
            check_revision(url)

    def test_of_a_newer_release_is_refused(self, url, engine):
        upgrade(url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for door in (upgrade, check_revision, open_store):
            with pytest.raises(UnavailableError, match="revision 9999, is of a newer release"):
                door(url)


class TestOpening:
    def test_makes_sqlite_durable(self, url):
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
        store = open_store(url)
        with store._engine.connect() as connection:
            found = {name: connection.scalar(text(f"PRAGMA {name}")) for name in wanted}
        store.close()
        assert found == wanted

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u@h/d", "records.db", "", "postgres://u@h/d"])
    def test_refuses_what_is_no_database_for_records(self, url):
        with pytest.raises(RefusedError, match="sqlite:///path or postgresql://"):
            open_store(url)

    def test_of_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(UnavailableError, match="unable to open database file"):
            open_store(sqlite_url(tmp_path / "gone" / "r.db"))

    def test_of_a_file_that_is_no_database(self, tmp_path):
        path = tmp_path / "records.db"
        path.write_bytes(b"not a database, by far" * 1000)
        with pytest.raises(UnavailableError, match=r"records\.db does not serve: file is not a database"):
            open_store(sqlite_url(path))

    def test_never_shows_a_password(self):
        with pytest.raises(UnavailableError) as raised:
            open_store("postgresql://user:secret@127.0.0.1:1/records")
        assert "secret" not in str(raised.value)

    def test_without_the_driver_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(UnavailableError, match=r"pip install 'mergefront\[postgres\]'"):
            open_store("postgresql://user@127.0.0.1:1/records")
