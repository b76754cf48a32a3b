"""The catalog in this process's memory: for tests."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import ConflictError, NotFoundError
from app.domain.finetune import Finetune
from app.domain.key import Key
from app.domain.request import KeyedRequest
from app.domain.upload import Holding, Upload
from app.store import holds
from app.store.catalog import Catalog, R, Record
from app.store.codec import decode, encode
from app.store.memory_rows import MemoryRows
from app.store.rules import utc_now


class MemoryCatalog(Catalog):
    """May be shared by threads. `rows`: those of the store beside it, if there is one."""

    def __init__(self, rows: MemoryRows | None = None, clock: Callable[[], datetime] = utc_now) -> None:
        self._rows = rows or MemoryRows()
        self._clock = clock
        self._lock, self._records = self._rows.lock, self._rows.records
        self._holdings: dict[tuple[str, str], Holding] = {}
        self._unheld: dict[str, datetime] = {}
        self._keys: dict[str, Key] = {}
        self._requests: dict[tuple[str, str], KeyedRequest] = {}

    def add(self, record: Record) -> None:
        kept = decode(type(record), encode(record))
        with self._lock:
            if record.id in self._records:
                raise ConflictError(f"{record.id} exists")
            if isinstance(record, Finetune):
                holds.check_there(record.spec.as_study().registered, self._rows.registered(record.tenant))
            if isinstance(record, Upload):
                self._unheld.pop(record.digest, None)
            self._records[record.id] = kept

    def register(self, record: Checkpoint | Dataset) -> None:
        with self._lock:
            holds.check_held(record, [digest for tenant, digest in self._holdings if tenant == record.tenant])
            self.add(record)

    def unregister(self, record: Checkpoint | Dataset) -> None:
        with self._lock:
            holds.check_unused(record, self._rows.studies.values(), self._of(Finetune, record.tenant))
            self.remove(record)
            for digest in holds.freed(record, self._registrations(record.tenant)):
                self._drop_holding(record.tenant, digest)

    def one(self, kind: type[R], tenant: str, record_id: str) -> R:
        with self._lock:
            record = self._records.get(record_id)
        if not isinstance(record, kind) or record.tenant != tenant:
            raise NotFoundError(f"no {kind.__name__.lower()} {record_id}")
        return record

    def page(self, kind: type[R], tenant: str, after: str = "", limit: int = 100) -> tuple[R, ...]:
        return tuple(record for record in self._of(kind, tenant) if record.id > after)[:limit]

    def with_digest(self, kind: type[R], tenant: str, digest: str) -> tuple[R, ...]:
        return tuple(record for record in self._of(kind, tenant) if record.digest == digest)

    def every(self, kind: type[R]) -> tuple[R, ...]:
        with self._lock:
            found = [record for record in self._records.values() if type(record) is kind]
        return cast("tuple[R, ...]", tuple(sorted(found, key=lambda record: record.id)))

    def replace(self, old: Record, new: Record) -> None:
        kept = decode(type(new), encode(new))
        with self._lock:
            self._check_unchanged(old)
            self._records[old.id] = kept

    def remove(self, record: Record) -> None:
        with self._lock:
            self._check_unchanged(record)
            del self._records[record.id]
            if isinstance(record, Upload):
                self._note_unheld(record.digest)

    def hold(self, tenant: str, holding: Holding) -> None:
        with self._lock:
            self._unheld.pop(holding.digest, None)
            self._holdings[tenant, holding.digest] = holding

    def holdings(self, tenant: str, digests: Sequence[str]) -> tuple[Holding, ...]:
        with self._lock:
            return tuple(self._holdings[tenant, digest] for digest in sorted(set(digests)) if (tenant, digest) in self._holdings)

    def let_go(self, tenant: str, digest: str) -> None:
        with self._lock:
            if (tenant, digest) not in self._holdings:
                raise NotFoundError("these bytes are not stored")
            holds.check_free(digest, self._registrations(tenant))
            self._drop_holding(tenant, digest)

    def unheld(self, before: datetime, limit: int = 100) -> tuple[str, ...]:
        with self._lock:
            found = sorted((since, digest) for digest, since in self._unheld.items() if since < before)
        return tuple(digest for _, digest in found[:limit])

    def discard(self, digest: str, before: datetime, delete: Callable[[str], None]) -> bool:
        with self._lock:
            if digest not in self._unheld or self._unheld[digest] >= before:
                return False
            delete(digest)
            del self._unheld[digest]
            return True

    def held_bytes(self, tenant: str) -> int:
        with self._lock:
            held = sum(holding.size for (owner, _), holding in self._holdings.items() if owner == tenant)
            return held + sum(upload.size for upload in self._of(Upload, tenant))

    def add_key(self, key: Key) -> None:
        with self._lock:
            if any(kept.id == key.id or kept.digest == key.digest for kept in self._keys.values()):
                raise ConflictError(f"key {key.id} exists")
            self._keys[key.id] = key

    def key(self, digest: str) -> Key:
        with self._lock:
            found = [key for key in self._keys.values() if key.digest == digest]
        if not found:
            raise NotFoundError("no such key")
        return found[0]

    def keys(self) -> tuple[Key, ...]:
        with self._lock:
            return tuple(self._keys[key_id] for key_id in sorted(self._keys))

    def remove_key(self, key_id: str) -> None:
        with self._lock:
            if self._keys.pop(key_id, None) is None:
                raise NotFoundError(f"no key {key_id}")

    def begin_request(self, request: KeyedRequest, stale: datetime) -> KeyedRequest:
        place = request.tenant, request.key
        with self._lock:
            kept = self._requests.get(place, request)
            if not kept.answered and kept.begun < stale:
                kept = replace(kept, begun=request.begun)
            self._requests[place] = kept
            return kept

    def answer_request(self, request: KeyedRequest) -> None:
        with self._lock:
            if not self._begun(request):
                raise ConflictError(f"the request with the key {request.key} was taken over")
            self._requests[request.tenant, request.key] = replace(request, answered=True)

    def forget_request(self, request: KeyedRequest) -> None:
        with self._lock:
            if self._begun(request):
                del self._requests[request.tenant, request.key]

    def close(self) -> None:
        """Nothing to give back."""

    def _of(self, kind: type[R], tenant: str) -> list[R]:
        with self._lock:
            found = [record for record in self._records.values() if type(record) is kind and record.tenant == tenant]
        return cast("list[R]", sorted(found, key=lambda record: record.id))

    def _registrations(self, tenant: str) -> list[Checkpoint | Dataset]:
        return [*self._of(Checkpoint, tenant), *self._of(Dataset, tenant)]

    def _drop_holding(self, tenant: str, digest: str) -> None:
        self._holdings.pop((tenant, digest), None)
        self._note_unheld(digest)

    def _note_unheld(self, digest: str) -> None:
        wanted = {held for _, held in self._holdings} | {record.digest for record in self._records.values() if isinstance(record, Upload)}
        if digest not in wanted:
            self._unheld[digest] = self._clock()

    def _check_unchanged(self, record: Record) -> None:
        if self.one(type(record), record.tenant, record.id) != record:
            raise ConflictError(f"{record.id} was changed by somebody else")

    def _begun(self, request: KeyedRequest) -> bool:
        kept = self._requests.get((request.tenant, request.key))
        return kept is not None and kept.begun == request.begun and not kept.answered
