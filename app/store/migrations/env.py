"""What Alembic runs: the migrations, on the connection and in the transaction of whoever asks."""

from alembic import context

from app.store.tables import metadata

# SQLite's DDL is transactional too, once the driver leaves BEGIN alone
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
