"""Sending files: only what the service lacks, going on where an earlier attempt was cut."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from app.client.parcels import Parcel
from app.client.service import ServiceClient
from app.domain.errors import ConflictError, Fault, RefusedError, UnavailableError

PIECE = 8 << 20
ATTEMPTS = 6
FIRST_WAIT_SECONDS = 0.25
Sent = Callable[[int], None]
"""Told of so many bytes more."""


def missing_files(service: ServiceClient, parcels: Iterable[Parcel]) -> dict[str, Path]:
    """Files that the service has not got, by digest."""
    files = {digest: parcel.files[name] for parcel in parcels for name, digest in parcel.digests.items()}
    lacking = service.post("/v1/blobs:missing", {"digests": list(files)})["missing"]
    return {digest: files[digest] for digest in lacking}


def upload(service: ServiceClient, digest: str, path: Path, sent: Sent) -> None:
    """Every byte of a file, durably. After a break it goes on where the service says; raises what keeps breaking it."""
    size, failures = path.stat().st_size, 0
    while True:
        try:
            announced = service.post("/v1/uploads", {"digest": digest, "size": size})
            if announced["stored"]:
                return
            _send_rest(service, announced, path, sent)
        except (UnavailableError, ConflictError):
            failures += 1
            if failures == ATTEMPTS:
                raise
            time.sleep(FIRST_WAIT_SECONDS * 2**failures)


def register(service: ServiceClient, parcels: Mapping[str, Parcel]) -> dict[str, str]:
    """The ids of the parcels, by key; the same content has one id. Raises RefusedError with every fault."""
    ids: dict[object, str] = {}
    faults: list[Fault] = []
    for key, parcel in parcels.items():
        if parcel.content in ids:
            continue
        try:
            ids[parcel.content] = service.post(f"/v1/{parcel.kind}", {"files": dict(parcel.digests)})["id"]
        except RefusedError as error:
            ids[parcel.content] = ""
            faults += [Fault(key, fault.problem) for fault in error.faults]
    if faults:
        raise RefusedError(faults)
    return {key: ids[parcel.content] for key, parcel in parcels.items()}


def _send_rest(service: ServiceClient, announced: Mapping[str, Any], path: Path, sent: Sent) -> None:
    offset = int(announced["offset"])
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(PIECE):
            headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
            service.call("PATCH", f"/v1/uploads/{announced['id']}", content=piece, headers=headers)
            offset += len(piece)
            sent(len(piece))
