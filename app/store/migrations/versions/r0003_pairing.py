"""How the checkpoints of a study pair, known before there is a front."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("pairing", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("studies", "pairing")
