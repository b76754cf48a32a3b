"""The catalog on SQLite and PostgreSQL."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import ConflictError, NotFoundError
from app.domain.finetune import Finetune
from app.domain.key import Key
from app.domain.request import KeyedRequest
from app.domain.upload import Holding, Upload
from app.store import custody
from app.store.catalog import Catalog, R, Record
from app.store.codec import decode, encode
from app.store.engine import connect, reading, writing
from app.store.rules import utc_now
from app.store.tables import holdings, keys, records, requests, unheld

log = logging.getLogger(__name__)


class SqlCatalog(Catalog):
    """May be shared by threads; processes open their own. The database has this release's schema: see app.store.sql.open_store."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    def add(self, record: Record) -> None:
        with self._adding(record) as connection:
            if isinstance(record, Finetune):
                custody.lock_registered(connection, record.tenant, record.spec.as_study().registered)
            if isinstance(record, Upload):
                custody.expect(connection, record.digest)

    def register(self, record: Checkpoint | Dataset) -> None:
        with self._adding(record) as connection:
            custody.check_held(connection, record)

    def unregister(self, record: Checkpoint | Dataset) -> None:
        with self._removing(record) as connection:
            custody.check_unused(connection, record)
            custody.free(connection, record, self._clock())

    def one(self, kind: type[R], tenant: str, record_id: str) -> R:
        with reading(self._engine) as connection:
            wanted = select(records.c.value).where(records.c.id == record_id, records.c.tenant == tenant, records.c.kind == _name(kind))
            value = connection.scalar(wanted)
        if value is None:
            raise NotFoundError(f"no {_name(kind)} {record_id}")
        return decode(kind, value)

    def page(self, kind: type[R], tenant: str, after: str = "", limit: int = 100) -> tuple[R, ...]:
        later = and_(records.c.tenant == tenant, records.c.kind == _name(kind), records.c.id > after)
        with reading(self._engine) as connection:
            values = connection.scalars(select(records.c.value).where(later).order_by(records.c.id).limit(limit))
            return tuple(decode(kind, value) for value in values)

    def with_digest(self, kind: type[R], tenant: str, digest: str) -> tuple[R, ...]:
        same = and_(records.c.tenant == tenant, records.c.kind == _name(kind), records.c.digest == digest)
        with reading(self._engine) as connection:
            return tuple(decode(kind, value) for value in connection.scalars(select(records.c.value).where(same).order_by(records.c.id)))

    def every(self, kind: type[R]) -> tuple[R, ...]:
        wanted = select(records.c.value).where(records.c.kind == _name(kind)).order_by(records.c.id)
        with reading(self._engine) as connection:
            return tuple(decode(kind, value) for value in connection.scalars(wanted))

    def replace(self, old: Record, new: Record) -> None:
        with writing(self._engine) as connection:
            if not connection.execute(update(records).where(_is(old)).values(_row(new))).rowcount:
                raise self._reason(connection, old)

    def remove(self, record: Record) -> None:
        with self._removing(record) as connection:
            if isinstance(record, Upload):
                custody.note_unheld(connection, record.digest, self._clock())

    def hold(self, tenant: str, holding: Holding) -> None:
        with writing(self._engine) as connection:
            custody.take_hold(connection, tenant, holding)

    def holdings(self, tenant: str, digests: Sequence[str]) -> tuple[Holding, ...]:
        wanted = select(holdings.c.digest, holdings.c.size).where(holdings.c.tenant == tenant, holdings.c.digest.in_(digests))
        with reading(self._engine) as connection:
            return tuple(Holding(row.digest, row.size) for row in connection.execute(wanted.order_by(holdings.c.digest)))

    def let_go(self, tenant: str, digest: str) -> None:
        with writing(self._engine) as connection:
            if not custody.let_go(connection, tenant, digest, self._clock()):
                raise NotFoundError("these bytes are not stored")

    def unheld(self, before: datetime, limit: int = 100) -> tuple[str, ...]:
        longest = select(unheld.c.digest).where(unheld.c.since < before).order_by(unheld.c.since, unheld.c.digest).limit(limit)
        with reading(self._engine) as connection:
            return tuple(connection.scalars(longest))

    def discard(self, digest: str, before: datetime, delete: Callable[[str], None]) -> bool:
        with writing(self._engine) as connection:
            return custody.discard(connection, digest, before, delete)

    def held_bytes(self, tenant: str) -> int:
        announced = select(func.coalesce(func.sum(records.c.size), 0)).where(records.c.tenant == tenant, records.c.kind == _name(Upload))
        held = select(func.coalesce(func.sum(holdings.c.size), 0)).where(holdings.c.tenant == tenant)
        with reading(self._engine) as connection:
            return int(connection.scalar(announced) or 0) + int(connection.scalar(held) or 0)

    def add_key(self, key: Key) -> None:
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(keys).values(id=key.id, digest=key.digest, value=encode(key)))
        except IntegrityError as error:
            raise ConflictError(f"key {key.id} exists") from error

    def key(self, digest: str) -> Key:
        with reading(self._engine) as connection:
            value = connection.scalar(select(keys.c.value).where(keys.c.digest == digest))
        if value is None:
            raise NotFoundError("no such key")
        return decode(Key, value)

    def keys(self) -> tuple[Key, ...]:
        with reading(self._engine) as connection:
            return tuple(decode(Key, value) for value in connection.scalars(select(keys.c.value).order_by(keys.c.id)))

    def remove_key(self, key_id: str) -> None:
        with writing(self._engine) as connection:
            if not connection.execute(delete(keys).where(keys.c.id == key_id)).rowcount:
                raise NotFoundError(f"no key {key_id}")

    def begin_request(self, request: KeyedRequest, stale: datetime) -> KeyedRequest:
        same = and_(requests.c.tenant == request.tenant, requests.c.key == request.key)
        dead = and_(same, requests.c.answered.is_(False), requests.c.begun < stale)
        try:
            with writing(self._engine) as connection:
                if not connection.execute(update(requests).where(dead).values(begun=request.begun)).rowcount:
                    connection.execute(insert(requests).values(asdict(request)))
        except IntegrityError:
            log.debug("the request with the key %s is not new", request.key)
        with reading(self._engine) as connection:
            kept = connection.execute(select(requests).where(same)).one_or_none()
        if kept is None:
            raise ConflictError(f"the request with the key {request.key} was given up just now: send it again")
        return KeyedRequest(kept.tenant, kept.key, kept.fingerprint, kept.begun, kept.subject, kept.answered)

    def answer_request(self, request: KeyedRequest) -> None:
        with writing(self._engine) as connection:
            if not connection.execute(update(requests).where(_begun(request)).values(answered=True)).rowcount:
                raise ConflictError(f"the request with the key {request.key} was taken over")

    def forget_request(self, request: KeyedRequest) -> None:
        with writing(self._engine) as connection:
            connection.execute(delete(requests).where(_begun(request)))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _adding(self, record: Record) -> Iterator[Connection]:
        try:
            with writing(self._engine) as connection:
                yield connection
                connection.execute(insert(records).values(_row(record)))
        except IntegrityError as error:
            raise ConflictError(f"{record.id} exists") from error

    @contextmanager
    def _removing(self, record: Record) -> Iterator[Connection]:
        with writing(self._engine) as connection:
            if not connection.execute(delete(records).where(_is(record))).rowcount:
                raise self._reason(connection, record)
            yield connection

    def _reason(self, connection: Connection, record: Record) -> ConflictError | NotFoundError:
        """Why there is no record like this."""
        same = exists().where(records.c.id == record.id, records.c.tenant == record.tenant, records.c.kind == _name(type(record)))
        if connection.scalar(select(same)):
            return ConflictError(f"{record.id} was changed by somebody else")
        return NotFoundError(f"no {_name(type(record))} {record.id}")


def open_catalog(url: str, clock: Callable[[], datetime] = utc_now) -> SqlCatalog:
    """The catalog in the database at `url`, which `open_store` has opened before. Raises as that."""
    return SqlCatalog(connect(url), clock)


def _name(kind: type) -> str:
    return kind.__name__.lower()


def _row(record: Record) -> dict[str, object]:
    size = 0 if not hasattr(record, "size") else record.size
    return {
        "id": record.id,
        "kind": _name(type(record)),
        "tenant": record.tenant,
        "digest": record.digest,
        "size": size,
        "value": encode(record),
    }


def _is(record: Record) -> ColumnElement[bool]:
    return and_(records.c.id == record.id, records.c.value == encode(record))


def _begun(request: KeyedRequest) -> ColumnElement[bool]:
    same = and_(requests.c.tenant == request.tenant, requests.c.key == request.key)
    return and_(same, requests.c.begun == request.begun, requests.c.answered.is_(False))
