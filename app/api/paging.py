"""Pages: a cursor is opaque to clients, and says after what the next page begins."""

import base64
import binascii
from typing import Annotated

from fastapi import Query

from app.api.problems import ProblemError
from app.domain.errors import Fault

Limit = Annotated[int, Query(ge=1, le=1000, description="Largest number of items of the page.", examples=[100])]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; none for the first.", examples=["c3R1ZHlfMDFqZA"])
]


def cursor_of(last: str) -> str:
    """The cursor of the page that begins after `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def after(cursor: str | None) -> str:
    """What the page begins after; empty for the first. Raises ProblemError for what no page gave."""
    if not cursor:
        return ""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _unknown(cursor) from error


def number_after(cursor: str | None) -> int:
    """The same for pages by number: the first number of the page."""
    last = after(cursor)
    if not last:
        return 0
    if not (last.isascii() and last.isdigit() and len(last) < 12):
        raise _unknown(cursor or "")
    return int(last) + 1


def _unknown(cursor: str) -> ProblemError:
    return ProblemError(422, f"cursor: no page gave {cursor!r}: begin without one", faults=[Fault("cursor", "no page gave it")])
