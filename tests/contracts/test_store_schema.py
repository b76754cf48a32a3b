"""The migrations, run on every database, make exactly the tables that the store uses."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from app.store.schema import check_revision, upgrade
from app.store.tables import metadata


def test_migrations_make_the_tables(database):
    upgrade(database)
    check_revision(database)
    engine = create_engine(database)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    engine.dispose()
