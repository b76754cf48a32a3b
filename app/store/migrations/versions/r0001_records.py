"""Studies, trials with their leases, fronts, events; what a service keeps beside them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    ident = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "studies",
        sa.Column("id", ident, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("digests", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("created", moment, nullable=False),
        sa.Column("updated", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
    )
    op.create_index("ix_studies_status", "studies", ["status"])
    op.create_index("ix_studies_tenant_name", "studies", ["tenant", "name"])
    op.create_table(
        "trials",
        sa.Column("id", ident, nullable=False),
        sa.Column("study_id", ident, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("proposal", sa.Text, nullable=False),
        sa.Column("measurement", sa.Text),
        sa.Column("failure", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", sa.Float(53)),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_trials_study_id"),
        sa.UniqueConstraint("study_id", "number", name="uq_trials_study_id_number"),
    )
    op.create_index("ix_trials_status_until", "trials", ["status", "until"])
    op.create_table(
        "fronts",
        sa.Column("study_id", ident, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("front", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "revision", name="pk_fronts"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_fronts_study_id"),
    )
    op.create_table(
        "events",
        sa.Column("study_id", ident, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_events"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_events_study_id"),
    )
    _create_service_tables(ident)


def _create_service_tables(ident: sa.types.TypeEngine[str]) -> None:
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
    for table in ("events", "fronts", "trials", "studies"):
        op.drop_table(table)
