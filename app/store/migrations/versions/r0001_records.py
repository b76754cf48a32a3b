"""Studies, trials with their leases, fronts, events."""

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
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("digests", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("created", moment, nullable=False),
        sa.Column("updated", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
    )
    op.create_index("ix_studies_status", "studies", ["status"])
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
        sa.Column("front", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("study_id", name="pk_fronts"),
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


def downgrade() -> None:
    for table in ("events", "fronts", "trials", "studies"):
        op.drop_table(table)
