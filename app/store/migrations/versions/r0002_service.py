"""Tenants, names and revisions of studies; what a service keeps beside them."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _upgrade_studies()
    _upgrade_fronts()
    ident = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.create_table(
        "records",
        sa.Column("id", ident, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
    )
    op.create_index("ix_records_tenant_kind_digest", "records", ["tenant", "kind", "digest"])
    op.create_table(
        "holdings",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", name="pk_holdings"),
    )
    op.create_table(
        "keys",
        sa.Column("id", ident, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
    )
    op.create_table(
        "requests",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("begun", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", ident, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name="pk_requests"),
    )


def downgrade() -> None:
    for table in ("requests", "keys", "holdings", "records"):
        op.drop_table(table)
    op.drop_index("ix_studies_tenant_name", "studies")
    with op.batch_alter_table("studies") as studies:
        for column in ("tenant", "name", "revision"):
            studies.drop_column(column)
    op.execute(sa.text("DELETE FROM fronts WHERE revision <> (SELECT max(f.revision) FROM fronts f WHERE f.study_id = fronts.study_id)"))
    with op.batch_alter_table("fronts") as fronts:
        fronts.drop_constraint("pk_fronts", type_="primary")
        fronts.drop_column("revision")
        fronts.create_primary_key("pk_fronts", ["study_id"])


def _upgrade_studies() -> None:
    with op.batch_alter_table("studies") as studies:
        studies.add_column(sa.Column("tenant", sa.String(64), nullable=False, server_default=""))
        studies.add_column(sa.Column("name", sa.String(64), nullable=False, server_default=""))
        studies.add_column(sa.Column("revision", sa.Integer, nullable=False, server_default="0"))
    connection = op.get_bind()
    for study, spec in connection.execute(sa.text("SELECT id, spec FROM studies")).all():
        connection.execute(sa.text("UPDATE studies SET name = :name WHERE id = :id"), {"name": json.loads(spec)["name"], "id": study})
    # the defaults were for the rows that were there
    with op.batch_alter_table("studies") as studies:
        for column in ("tenant", "name", "revision"):
            studies.alter_column(column, server_default=None)
    op.create_index("ix_studies_tenant_name", "studies", ["tenant", "name"])


def _upgrade_fronts() -> None:
    with op.batch_alter_table("fronts") as fronts:
        fronts.add_column(sa.Column("revision", sa.Integer, nullable=False, server_default="0"))
        fronts.drop_constraint("pk_fronts", type_="primary")
        fronts.create_primary_key("pk_fronts", ["study_id", "revision"])
    with op.batch_alter_table("fronts") as fronts:
        fronts.alter_column("revision", server_default=None)
