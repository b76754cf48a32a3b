"""Who holds which bytes, in SQL: every look and the write that follows from it are one transaction.

Whoever changes who needs some bytes queues on their digest first: in PostgreSQL on a lock of the transaction, while SQLite lets but one
transaction write at a time. Whoever names what is registered keeps its row from being dropped.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, delete, exists, insert, or_, select, text

from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.finetune import Finetune
from app.domain.study import Study
from app.domain.upload import Holding, Upload
from app.store import holds
from app.store.codec import decode
from app.store.holds import Registration
from app.store.rows import study_of
from app.store.tables import holdings, records, studies, unheld

Kind = TypeVar("Kind", Checkpoint, Dataset, Finetune)


def lock_registered(connection: Connection, tenant: str, names: frozenset[str]) -> None:
    """Keeps everything that is named from being dropped until the transaction ends. Raises GoneError."""
    if names:
        named = select(records.c.id).where(records.c.tenant == tenant, records.c.id.in_(names)).order_by(records.c.id)
        holds.check_there(names, connection.scalars(named.with_for_update(read=True)))


def check_held(connection: Connection, record: Registration) -> None:
    """Raises ConflictError where the tenant does not hold all its bytes."""
    mine = sorted(holds.bytes_of(record))
    _queue(connection, mine)
    held = select(holdings.c.digest).where(holdings.c.tenant == record.tenant, holdings.c.digest.in_(mine))
    holds.check_held(record, connection.scalars(held))


def check_unused(connection: Connection, record: Registration) -> None:
    """Raises ConflictError while something that has not ended names the record, whose row is this transaction's."""
    holds.check_unused(record, _open_studies(connection, record.tenant), _of_kind(connection, record.tenant, Finetune))


def free(connection: Connection, record: Registration, at: datetime) -> None:
    """Drops the holdings of what only the record, which is gone, was made of."""
    _queue(connection, holds.bytes_of(record))
    for digest in sorted(holds.freed(record, _registrations(connection, record.tenant))):
        _drop(connection, record.tenant, digest, at)


def take_hold(connection: Connection, tenant: str, holding: Holding) -> None:
    expect(connection, holding.digest)
    connection.execute(delete(holdings).where(holdings.c.tenant == tenant, holdings.c.digest == holding.digest))
    connection.execute(insert(holdings).values(tenant=tenant, digest=holding.digest, size=holding.size))


def let_go(connection: Connection, tenant: str, digest: str, at: datetime) -> bool:
    """Whether the tenant held it. Raises ConflictError while something registered is made of it."""
    _queue(connection, [digest])
    if not connection.scalar(select(exists().where(holdings.c.tenant == tenant, holdings.c.digest == digest))):
        return False
    holds.check_free(digest, _registrations(connection, tenant))
    _drop(connection, tenant, digest, at)
    return True


def expect(connection: Connection, digest: str) -> None:
    """The bytes are on their way, or held: from now on they stay."""
    _queue(connection, [digest])
    connection.execute(delete(unheld).where(unheld.c.digest == digest))


def note_unheld(connection: Connection, digest: str, at: datetime) -> None:
    """The bytes have nobody since `at`, unless somebody holds or uploads them."""
    _queue(connection, [digest])
    uploads = exists().where(records.c.kind == Upload.__name__.lower(), records.c.digest == digest)
    if not connection.scalar(select(or_(exists().where(holdings.c.digest == digest), uploads))):
        connection.execute(delete(unheld).where(unheld.c.digest == digest))
        connection.execute(insert(unheld).values(digest=digest, since=at))


def discard(connection: Connection, digest: str, before: datetime, act: Callable[[str], None]) -> bool:
    """Whether the bytes were unheld since before then; `act` is done while everybody who wants them waits."""
    _queue(connection, [digest])
    if not connection.execute(delete(unheld).where(unheld.c.digest == digest, unheld.c.since < before)).rowcount:
        return False
    act(digest)
    return True


def _queue(connection: Connection, digests: Iterable[str]) -> None:
    if connection.dialect.name == "postgresql":
        for digest in sorted(digests):  # in one order, so that nobody waits for who waits for him
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": int(digest[:15], 16)})


def _drop(connection: Connection, tenant: str, digest: str, at: datetime) -> None:
    connection.execute(delete(holdings).where(holdings.c.tenant == tenant, holdings.c.digest == digest))
    note_unheld(connection, digest, at)


def _open_studies(connection: Connection, tenant: str) -> Iterator[Study]:
    opened = select(studies).where(studies.c.tenant == tenant, studies.c.status.in_([status.value for status in holds.OPEN_STUDIES]))
    return map(study_of, connection.execute(opened))


def _registrations(connection: Connection, tenant: str) -> list[Registration]:
    return [*_of_kind(connection, tenant, Checkpoint), *_of_kind(connection, tenant, Dataset)]


def _of_kind(connection: Connection, tenant: str, kind: type[Kind]) -> Iterator[Kind]:
    same = select(records.c.value).where(records.c.tenant == tenant, records.c.kind == kind.__name__.lower())
    return (decode(kind, value) for value in connection.scalars(same))
