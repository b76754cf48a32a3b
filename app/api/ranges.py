"""Ranges of bytes (RFC 9110, section 14): which ones a client asks for."""

import re
from dataclasses import dataclass

from fastapi import Request

from app.api.problems import ProblemError

MOST_RANGES = 16
"""More in one request are answered with the whole: nobody needs them, and attacks are made of them."""

_RANGES = re.compile(r"bytes\s*=\s*(.+)", re.IGNORECASE)
_RANGE = re.compile(r"(\d{0,19})-(\d{0,19})")


@dataclass(frozen=True)
class Span:
    """The bytes [begin, end), at least one."""

    begin: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.begin


def wanted_spans(request: Request, size: int, etag: str) -> list[Span]:
    """What of a representation of `size` bytes the client wants, in its order, joined where they meet; none where it wants the whole.

    Raises ProblemError 416 where nothing of it lies within the representation.
    """
    header = request.headers.get("range")
    # a client that began with another representation must not go on with this one
    if header is None or request.headers.get("if-range", etag) != etag:
        return []
    asked = _asked(header)
    spans = [span for first, last in asked if (span := _span(first, last, size))]
    if asked and not spans:
        raise ProblemError(416, f"there are {size} bytes, and {header!r} names none of them", headers={"Content-Range": f"bytes */{size}"})
    return _joined(spans)


def _asked(header: str) -> list[tuple[str, str]]:
    """First and last byte of every range as they are written; none where the header means nothing, which is to be ignored."""
    found = _RANGES.fullmatch(header.strip())
    parts = [_RANGE.fullmatch(part.strip()) for part in found[1].split(",")] if found else []
    asked = [(part[1], part[2]) for part in parts if part is not None and _sound(part[1], part[2])]
    return asked if len(asked) == len(parts) <= MOST_RANGES else []


def _sound(first: str, last: str) -> bool:
    return bool(first or last) and (not (first and last) or int(first) <= int(last))


def _span(first: str, last: str, size: int) -> Span | None:
    begin = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    return Span(begin, end) if begin < end else None


def _joined(spans: list[Span]) -> list[Span]:
    """The same bytes, none twice: ranges that overlap or touch become one, where the first of them stood."""
    joined: list[Span] = []
    for span in spans:
        meeting = [other for other in joined if span.begin <= other.end and other.begin <= span.end]
        whole = Span(min(one.begin for one in (span, *meeting)), max(one.end for one in (span, *meeting)))
        place = joined.index(meeting[0]) if meeting else len(joined)
        joined = [other for other in joined if other not in meeting]
        joined.insert(place, whole)
    return joined
