"""Bytes that nobody holds any more, and since when."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unheld",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_unheld"),
    )
    op.create_index("ix_unheld_since", "unheld", ["since"])


def downgrade() -> None:
    op.drop_table("unheld")
