"""Uploads: announced by digest and size, sent in one piece or many, gone on with after any interruption."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.actions.uploads import Announced, Intake, abandon, announce, begin_writing, find_held, missing, settle
from app.api.auth import STREAM, Caller, CallerOf, ServiceOf, guarded_router
from app.api.problems import ProblemError, problem_responses
from app.api.schemas.upload import UPLOAD_ID, Announcement, DigestList, Missing, UploadShape, upload_shape
from app.api.service import Service
from app.blobs.digest import is_digest
from app.blobs.incoming import Growing, Incoming
from app.domain.errors import Fault, NotFoundError, OffsetError, RefusedError
from app.domain.upload import Upload

router = guarded_router("/v1", "uploads")

PIECE = 1 << 20
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_OFFSET: dict[str, Any] = {"Upload-Offset": {"description": "How many bytes are there, durably.", "schema": {"type": "integer"}}}
_BYTES: dict[str, Any] = {
    STREAM: True,
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "the bytes themselves"}},
    },
}
_TAKEN: dict[int | str, dict[str, Any]] = {204: {"description": "On disk.", "headers": _OFFSET}}
_UNDER_WAY: dict[int | str, dict[str, Any]] = {200: {"description": "Under way.", "headers": _OFFSET}}
_STORED: dict[int | str, dict[str, Any]] = {200: {"description": "They are stored already.", "model": UploadShape}}
_KEPT: dict[int | str, dict[str, Any]] = {201: {"description": "Stored.", "model": UploadShape}}

UploadOffset = Annotated[int, Header(ge=0, le=1 << 44, description="Where these bytes begin.", examples=[0])]
ContentRange = Annotated[
    str | None, Header(description="Which part of the whole these bytes are; none: all of it.", examples=["bytes 0-99/100"])
]
Digest = Annotated[str, Path(description="sha256 of the bytes, hexadecimal.", max_length=64, examples=["ab" * 32])]


@dataclass(frozen=True)
class Part:
    """The bytes of one request: `begin` and how many, and how many the whole are."""

    begin: int
    length: int
    size: int


def intake_of(service: ServiceOf) -> Intake:
    settings = service.settings
    return Intake(service.catalog, service.blobs, Incoming(settings.data / "uploads"), settings.quota_bytes)


def upload_named(
    upload_id: Annotated[str, Path(description="The upload's id.", max_length=64, pattern=r"^\w+$", examples=[UPLOAD_ID])],
    service: ServiceOf,
    caller: CallerOf,
) -> Upload:
    """Raises NotFoundError, also for another tenant's, and for one that was completed."""
    return service.catalog.one(Upload, caller.tenant, upload_id)


IntakeOf = Annotated[Intake, Depends(intake_of)]
UploadOf = Annotated[Upload, Depends(upload_named)]


@router.post(
    "/uploads", status_code=201, responses=_STORED | problem_responses(400, 409, 413, 429, 507), summary="Announce bytes",
)
def post_upload(announcement: Announcement, intake: IntakeOf, caller: CallerOf, response: Response) -> UploadShape:
    """201 names the upload to send them to, with its offset; 200 when all is stored. Asked again, it is the same upload."""
    announced = announce(intake, caller.tenant, announcement.digest, announcement.size)
    response.headers["Upload-Offset"] = str(announced.offset)
    if announced.upload is None:
        response.status_code = 200
    else:
        response.headers["Location"] = f"/v1/uploads/{announced.upload.id}"
    return upload_shape(announcement.digest, announcement.size, announced)


@router.head(
    "/uploads/{upload_id}", response_class=Response, responses=_UNDER_WAY | problem_responses(404), summary="How far is an upload?"
)
def head_upload(upload: UploadOf, intake: IntakeOf) -> Response:
    """How far the upload is. One that is complete is no longer there: announce the bytes again to learn that they are stored."""
    return Response(headers=_progress(intake.incoming.offset(upload.id)) | {"Upload-Length": str(upload.size)})


@router.patch(
    "/uploads/{upload_id}", status_code=204, openapi_extra=_BYTES, responses=_TAKEN | problem_responses(404, 409, 507),
    summary="Send the next bytes",
)
async def patch_upload(request: Request, upload: UploadOf, intake: IntakeOf, upload_offset: UploadOffset) -> Response:
    """They are on disk when the answer comes. 409 tells in Upload-Offset where to go on. With the last bytes the digest is checked."""
    growing = await _begin(intake, upload, upload_offset, _announced_length(request))
    await _take(request, intake, upload, growing)
    return Response(status_code=204, headers=_progress(growing.offset))


@router.put(
    "/uploads/{upload_id}", status_code=204, openapi_extra=_BYTES, responses=_TAKEN | problem_responses(400, 404, 409, 411, 507),
    summary="Send all bytes, or a range of them",
)
async def put_upload(request: Request, upload: UploadOf, intake: IntakeOf, content_range: ContentRange = None) -> Response:
    """As PATCH for clients that speak Content-Range; without one, the upload begins anew."""
    part = _part_of(request, content_range)
    _check_size(part, upload.size)
    growing = await _begin(intake, upload, None if content_range is None else part.begin, part.length)
    await _take(request, intake, upload, growing)
    return Response(status_code=204, headers=_progress(growing.offset))


@router.delete("/uploads/{upload_id}", status_code=204, responses=problem_responses(404, 409), summary="Give an upload up")
def delete_upload(upload: UploadOf, intake: IntakeOf) -> None:
    """What was sent is dropped."""
    abandon(intake, upload)


@router.put(
    "/blobs/{digest}", status_code=201, openapi_extra=_BYTES, summary="Store a file in one call",
    responses=_STORED | _TAKEN | _KEPT | problem_responses(400, 409, 411, 429, 507),
)
async def put_blob(
    request: Request, digest: Digest, intake: IntakeOf, caller: CallerOf, content_range: ContentRange = None
) -> Response:
    """`curl -T FILE .../v1/blobs/DIGEST`. Cut short, it is gone on with by `curl -C OFFSET -T`: HEAD tells the offset. 204 after a part."""
    if not is_digest(digest):
        raise RefusedError([Fault("digest", "expected the sha256 of the bytes, 64 hexadecimal digits in lower case")])
    part = _part_of(request, content_range)
    announced = await run_in_threadpool(announce, intake, caller.tenant, digest, part.size)
    if announced.upload is None:
        return _stored(200, digest, part.size)
    growing = await _begin(intake, announced.upload, None if content_range is None else part.begin, part.length)
    if await _take(request, intake, announced.upload, growing):
        return _stored(201, digest, part.size)
    return Response(status_code=204, headers=_progress(growing.offset))


@router.head("/blobs/{digest}", response_class=Response, responses=problem_responses(404), summary="Are these bytes stored?")
def head_blob(digest: Digest, service: ServiceOf, intake: IntakeOf, caller: CallerOf) -> Response:
    """200 when the bytes are stored; 404 when they are not, with Upload-Offset where an upload of them is under way."""
    held = find_held(intake, caller.tenant, digest) if is_digest(digest) else None
    if held is None:
        raise ProblemError(404, "these bytes are not stored", headers=_under_way(service, intake, caller, digest))
    return Response(headers=_progress(held.size) | {"Content-Length": str(held.size)})


@router.delete("/blobs/{digest}", status_code=204, responses=problem_responses(404, 409), summary="Give stored bytes up")
def delete_blob(digest: Digest, service: ServiceOf, caller: CallerOf) -> None:
    """They count no more. 409 while a checkpoint or a dataset of yours is made of them: drop that, and they go with it."""
    if not is_digest(digest):
        raise NotFoundError("these bytes are not stored")
    service.catalog.let_go(caller.tenant, digest)


@router.post("/blobs:missing", responses=problem_responses(400, 413), summary="Which bytes have to be uploaded?")
def post_missing(asked: DigestList, intake: IntakeOf, caller: CallerOf) -> Missing:
    return Missing(missing=missing(intake, caller.tenant, asked.digests))


async def _begin(intake: Intake, upload: Upload, offset: int | None, length: int | None) -> Growing:
    try:
        return await run_in_threadpool(begin_writing, intake, upload, offset, length)
    except OffsetError as error:
        raise ProblemError(409, str(error), error.code, _progress(error.offset)) from error


async def _take(request: Request, intake: Intake, upload: Upload, growing: Growing) -> bool:
    """Writes the body as it comes; whether the upload is complete with it."""
    try:
        async for piece in _pieces(request):
            await run_in_threadpool(growing.write, piece)
        return await run_in_threadpool(settle, intake, upload, growing)
    except ClientDisconnect as error:
        # what came is kept; nobody is there to be told
        raise ProblemError(400, "the request ended early", code="malformed") from error
    except NotFoundError as error:
        raise ProblemError(409, "the upload was given up meanwhile", code="conflict") from error
    finally:
        growing.release()


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of about a MiB: one change of thread each."""
    held = bytearray()
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) >= PIECE:
                yield bytes(held)
                held.clear()
    except ClientDisconnect:
        yield bytes(held)
        raise
    yield bytes(held)


def _announced_length(request: Request) -> int | None:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else None


def _part_of(request: Request, content_range: str | None) -> Part:
    """What the headers say of the body. Raises ProblemError: 411 without a length, 400 for a range that is none or does not fit it."""
    length = _announced_length(request)
    if length is None:
        raise ProblemError(411, "say in Content-Length how many bytes come")
    if content_range is None:
        return Part(0, length, length)
    found = _RANGE.fullmatch(content_range.strip())
    begin, end, size = map(int, found.groups()) if found else (0, -1, 0)
    if found is None or end - begin + 1 != length or end >= size:
        raise ProblemError(400, f"Content-Range: expected bytes FIRST-LAST/SIZE of {length} bytes, got {content_range!r}", code="malformed")
    return Part(begin, length, size)


def _check_size(part: Part, size: int) -> None:
    if part.size != size:
        raise RefusedError([Fault("size", f"{part.size} bytes where {size} were announced")])


def _progress(offset: int) -> dict[str, str]:
    return {"Upload-Offset": str(offset), "Cache-Control": "no-store"}


def _stored(status: int, digest: str, size: int) -> Response:
    body = upload_shape(digest, size, Announced(None, size)).model_dump_json()
    return Response(body, status, _progress(size), "application/json")


def _under_way(service: Service, intake: Intake, caller: Caller, digest: str) -> dict[str, str]:
    found = service.catalog.with_digest(Upload, caller.tenant, digest)
    return _progress(intake.incoming.offset(found[0].id)) if found else {}
