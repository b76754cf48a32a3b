"""Uploads: bytes announced by digest and size, taken in pieces, checked, and kept once whoever sends them.

A tenant that has not given the bytes itself never learns whether they are there.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.blobs.digest import digest_of_file
from app.blobs.incoming import Growing, Incoming
from app.blobs.port import Blobs
from app.domain.errors import ConflictError, Fault, NotFoundError, QuotaError, RefusedError, StorageFullError
from app.domain.ids import new_id
from app.domain.upload import Holding, Upload
from app.store.catalog import Catalog

ABANDONED = timedelta(days=7)
"""After so long an upload is given up, and what was announced counts no more."""
RESERVE_BYTES = 64 << 20
"""What an upload leaves free on the disk for everybody else."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Intake:
    """Where bytes are taken in. `quota`: bytes that one tenant may store; 0 for no bound."""

    catalog: Catalog
    blobs: Blobs
    incoming: Incoming
    quota: int = 0


@dataclass(frozen=True)
class Announced:
    """Where announced bytes stand: `offset` of them are there. No `upload` where the tenant has given them all."""

    upload: Upload | None
    offset: int


def announce(intake: Intake, tenant: str, digest: str, size: int) -> Announced:
    """The upload of these bytes, the one under way where there is one; it is completed where every byte was there already.

    Raises QuotaError, StorageFullError, RefusedError for another size than the bytes are known to have, or for wrong bytes.
    """
    held = find_held(intake, tenant, digest)
    if held is not None:
        if held.size != size:
            raise RefusedError([Fault("size", f"the bytes with this digest are {held.size} long, not {size}")])
        _give_up(intake, intake.catalog.with_digest(Upload, tenant, digest))
        return Announced(None, size)
    _give_up(intake, [upload for upload in intake.catalog.page(Upload, tenant) if upload.created + ABANDONED < datetime.now(UTC)])
    under_way = [upload for upload in intake.catalog.with_digest(Upload, tenant, digest) if upload.size == size]
    upload = under_way[0] if under_way else _begin(intake, tenant, digest, size)
    offset = intake.incoming.offset(upload.id)
    there = offset == size or (upload.checked and intake.blobs.has(digest))
    return Announced(None, size) if there and _complete_now(intake, upload) else Announced(upload, offset)


def find_held(intake: Intake, tenant: str, digest: str) -> Holding | None:
    """What the tenant has given, if it has."""
    held = intake.catalog.holdings(tenant, [digest])
    return held[0] if held and intake.blobs.has(digest) else None


def missing(intake: Intake, tenant: str, digests: Sequence[str]) -> list[str]:
    """Those that the tenant has not given yet, in their order."""
    held = {holding.digest for holding in intake.catalog.holdings(tenant, digests)}
    return [digest for digest in digests if digest not in held]


def begin_writing(intake: Intake, upload: Upload, offset: int | None, length: int | None) -> Growing:
    """The upload's file, ready for `length` bytes (None: unknown) at `offset` (None: anew); to be released by whoever asked.

    Raises OffsetError, ConflictError while another writes, RefusedError for too many bytes, NotFoundError when it was completed.
    """
    with ExitStack() as undo:
        growing = _hold(intake, upload, undo)
        growing.go_on(offset, length)
        undo.pop_all()
    return growing


def settle(intake: Intake, upload: Upload, growing: Growing) -> bool:
    """Makes durable what was written; whether that was all of it, which is then checked and kept.

    Raises RefusedError for bytes of another digest: the upload is gone then.
    """
    growing.sync()
    if growing.offset < upload.size:
        return False
    _complete(intake, upload, growing)
    return True


def abandon(intake: Intake, upload: Upload) -> None:
    """Drops the upload with its bytes. Raises ConflictError while somebody writes to it, NotFoundError when it was completed."""
    with ExitStack() as undo:
        _drop(intake, upload, _hold(intake, upload, undo))


def _begin(intake: Intake, tenant: str, digest: str, size: int) -> Upload:
    if size + RESERVE_BYTES > intake.incoming.free():
        raise StorageFullError(f"there is no room for {size} bytes")
    upload = Upload(new_id("upload"), tenant, digest, size, datetime.now(UTC))
    intake.catalog.add(upload)
    # looked at with it: of two that together are too much, none slips through
    held = intake.catalog.held_bytes(tenant)
    if intake.quota and held > intake.quota:
        intake.catalog.remove(upload)
        raise QuotaError(f"{held - size} of {intake.quota} bytes are used: {size} more are too many")
    return upload


def _hold(intake: Intake, upload: Upload, undo: ExitStack) -> Growing:
    growing = intake.incoming.open(upload.id, upload.size)
    undo.callback(growing.release)
    try:
        intake.catalog.one(Upload, upload.tenant, upload.id)
    except NotFoundError:  # completed or dropped while we came for it, and so the file is a new one
        growing.discard()
        raise
    return growing


def _complete_now(intake: Intake, upload: Upload) -> bool:
    with ExitStack() as undo:
        growing = _hold(intake, upload, undo)
        taken = upload.checked and intake.blobs.has(upload.digest)
        return _finish(intake, upload, growing) if taken else settle(intake, upload, growing)


def _complete(intake: Intake, upload: Upload, growing: Growing) -> None:
    """Checks and keeps the bytes. Wherever it is cut, asking again goes on: first that they were checked is noted, then they move."""
    found = digest_of_file(growing.path)
    if found != upload.digest:
        _drop(intake, upload, growing)
        raise RefusedError([Fault("digest", f"these bytes have the sha256 {found}, not the announced {upload.digest}: send them anew")])
    checked = replace(upload, checked=True)
    intake.catalog.replace(upload, checked)
    intake.blobs.take(growing.path, upload.digest)
    _finish(intake, checked, growing)


def _finish(intake: Intake, checked: Upload, growing: Growing) -> bool:
    intake.catalog.hold(checked.tenant, Holding(checked.digest, checked.size))
    _drop(intake, checked, growing)
    return True


def _drop(intake: Intake, upload: Upload, growing: Growing) -> None:
    # the record first: whoever opens a file under this name later sees that it belongs to nothing
    intake.catalog.remove(upload)
    growing.discard()


def _give_up(intake: Intake, uploads: Sequence[Upload]) -> None:
    """Drops those that nobody writes to."""
    for upload in uploads:
        try:
            abandon(intake, upload)
        except (ConflictError, NotFoundError) as error:
            log.info("upload %s is not given up: %s", upload.id, error)
