"""The catalog on SQLite and PostgreSQL."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.domain.errors import ConflictError, NotFoundError
from app.domain.key import Key
from app.domain.request import KeyedRequest
from app.domain.upload import Holding, Upload
from app.store.catalog import Catalog, R, Record
from app.store.codec import decode, encode
from app.store.engine import connect, reading, writing
from app.store.tables import holdings, keys, records, requests

log = logging.getLogger(__name__)


class SqlCatalog(Catalog):
    """May be shared by threads; processes open their own. The database has this release's schema: see app.store.sql.open_store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, record: Record) -> None:
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(records).values(_row(record)))
        except IntegrityError as error:
            raise ConflictError(f"{record.id} exists") from error

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
            changed = connection.execute(update(records).where(_is(old)).values(_row(new))).rowcount
        if not changed:
            self._say_why(old)

    def remove(self, record: Record) -> None:
        with writing(self._engine) as connection:
            changed = connection.execute(delete(records).where(_is(record))).rowcount
        if not changed:
            self._say_why(record)

    def hold(self, tenant: str, holding: Holding) -> None:
        with writing(self._engine) as connection:
            row = and_(holdings.c.tenant == tenant, holdings.c.digest == holding.digest)
            connection.execute(delete(holdings).where(row))
            connection.execute(insert(holdings).values(tenant=tenant, digest=holding.digest, size=holding.size))

    def holdings(self, tenant: str, digests: Sequence[str]) -> tuple[Holding, ...]:
        wanted = select(holdings.c.digest, holdings.c.size).where(holdings.c.tenant == tenant, holdings.c.digest.in_(digests))
        with reading(self._engine) as connection:
            return tuple(Holding(row.digest, row.size) for row in connection.execute(wanted.order_by(holdings.c.digest)))

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

    def _say_why(self, record: Record) -> None:
        self.one(type(record), record.tenant, record.id)
        raise ConflictError(f"{record.id} was changed by somebody else")


def open_catalog(url: str) -> SqlCatalog:
    """The catalog in the database at `url`, which `open_store` has opened before. Raises as that."""
    return SqlCatalog(connect(url))


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
