"""Alembic's environment and revisions; run by app.store.schema."""
