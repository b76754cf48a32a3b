"""The tables. Values that are read whole are JSON text (app.store.codec); columns are what queries ask for.

Whoever changes anything of a study holds its row in `studies` for the length of the transaction, and so every study's history is one line.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

# byte order on every database: pages of ids follow it
ID = String(64).with_variant(String(64, collation="C"), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, also in databases that keep no zone. Naive times are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("id", ID, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("spec", Text, nullable=False),
    Column("digests", Text, nullable=False),
    Column("failure", Text),
    Column("created", UtcDateTime, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("pairing", String(64), nullable=False, server_default=""),
    Index(None, "status"),
    Index(None, "tenant", "name"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", ID, primary_key=True),
    Column("study_id", ID, ForeignKey("studies.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("proposal", Text, nullable=False),
    Column("measurement", Text),
    Column("failure", Text),
    Column("attempts", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("until", Float(53)),
    UniqueConstraint("study_id", "number"),
    Index(None, "status", "until"),
)

fronts = Table(
    "fronts",
    metadata,
    Column("study_id", ID, ForeignKey("studies.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("front", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("study_id", ID, ForeignKey("studies.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(64), nullable=False),
    Column("data", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# uploads, checkpoints, datasets and merges: what is asked for by id or digest, and read whole
records = Table(
    "records",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Index(None, "tenant", "kind", "digest"),
)

holdings = Table(
    "holdings",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
)

# bytes that somebody held once, and nobody does any more; whoever takes hold of them takes the row away
unheld = Table(
    "unheld",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Index(None, "since"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", ID, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("value", Text, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("begun", UtcDateTime, nullable=False),
    Column("subject", ID, nullable=False),
    Column("answered", Boolean, nullable=False),
)
