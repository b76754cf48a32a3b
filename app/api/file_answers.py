"""Answers that are files: whole or in ranges, with tags and digests, computed as they are sent."""

import base64
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from app.actions.merge_files import VirtualFile
from app.api.computing import Computing, computing_of
from app.api.conditional import headers_of, not_modified
from app.api.ranges import Span, wanted_spans

OCTETS = "application/octet-stream"
_MEDIA = {".json": "application/json", ".md": "text/markdown; charset=utf-8", ".txt": "text/plain; charset=utf-8"}
_WANTED = re.compile(r"(?:^|,)\s*sha-256\s*=\s*([1-9]|10)\s*(?:,|$)")

_BYTES = {"type": "string", "contentMediaType": OCTETS}
_TEXT = {"schema": {"type": "string"}}
_CONTENT: dict[str, Any] = {OCTETS: {"schema": _BYTES}, "application/json": {"schema": {}}, "text/markdown": _TEXT, "text/plain": _TEXT}
_PARTS: dict[str, Any] = {**_CONTENT, "multipart/byteranges": {"schema": _BYTES}}
FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": _CONTENT},
    206: {"description": "The ranges that were asked for.", "content": _PARTS},
    304: {"description": "The client has it."},
}


async def answer_file(request: Request, file: VirtualFile, extra: Mapping[str, str] | None = None) -> Response:
    """The file as the request's headers ask for it: Range, If-Range, If-None-Match, Want-Repr-Digest (RFC 9530). Nothing is computed
    but what is sent, or the whole where its digest is wanted and not known. Raises ProblemError 416.
    """
    etag = f'"{file.tag}"'
    headers = headers_of(etag) | {"Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"} | dict(extra or {})
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        unchanged.headers.update(extra or {})
        return unchanged
    spans = wanted_spans(request, file.size, etag) if request.method == "GET" else []
    computing = computing_of(request)
    if _WANTED.search(request.headers.get("want-repr-digest", "")):
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(await computing.digest(file)).decode()}:"
    media = _MEDIA.get(PurePosixPath(file.name).suffix, OCTETS)
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(file.size)}, media_type=media)
    if not spans:
        return _streamed(computing, file, Span(0, file.size), 200, headers, media)
    if len(spans) == 1:
        headers["Content-Range"] = _content_range(spans[0], file)
        return _streamed(computing, file, spans[0], 206, headers, media)
    return _in_parts(computing, file, spans, headers, media)


def _streamed(computing: Computing, file: VirtualFile, span: Span, status: int, headers: Mapping[str, str], media: str) -> Response:
    chunks = computing.chunks(file.steps(span.begin, span.end))
    return StreamingResponse(chunks, status, dict(headers) | {"Content-Length": str(span.size)}, media)


def _in_parts(computing: Computing, file: VirtualFile, spans: list[Span], headers: Mapping[str, str], media: str) -> Response:
    boundary = file.tag[:32]
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {media}\r\nContent-Range: {_content_range(span, file)}\r\n\r\n".encode() for span in spans
    ]
    tail = f"\r\n--{boundary}--\r\n".encode()

    async def parts() -> AsyncIterator[bytes | memoryview]:
        for head, span in zip(heads, spans, strict=True):
            yield head
            async for chunk in computing.chunks(file.steps(span.begin, span.end)):
                yield chunk
        yield tail

    size = sum(map(len, heads)) + sum(span.size for span in spans) + len(tail)
    return StreamingResponse(parts(), 206, dict(headers) | {"Content-Length": str(size)}, f"multipart/byteranges; boundary={boundary}")


def _content_range(span: Span, file: VirtualFile) -> str:
    return f"bytes {span.begin}-{span.end - 1}/{file.size}"
