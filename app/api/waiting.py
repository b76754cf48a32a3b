"""`Prefer: wait=N` (RFC 7240): an answer that waits for the study's end, and for no worker's word."""

import asyncio
import re
import time

from starlette.concurrency import run_in_threadpool

from app.actions.studies import has_ended
from app.domain.study import Study
from app.store.port import Store

LONGEST = 60.0
PREFER = f"`wait=N`: answer when the study has ended, after N seconds at the latest ({LONGEST:g} at most)."
_POLL_SECONDS = 0.25


def wanted_seconds(prefer: str | None) -> float:
    """How long the client would wait; 0 where it does not say so, since preferences that are not understood are ignored."""
    found = re.search(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?", prefer or "", re.IGNORECASE)
    return min(float(found[1]), LONGEST) if found else 0.0


def applied(seconds: float) -> dict[str, str]:
    """The header that says so."""
    return {"Preference-Applied": f"wait={seconds:g}"} if seconds else {}


async def wait_for_end(store: Store, study: Study, seconds: float) -> Study:
    """The study as it is when it has ended, or when the time is up."""
    deadline = time.monotonic() + seconds
    while not has_ended(study) and time.monotonic() < deadline:
        await asyncio.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        study = await run_in_threadpool(store.study, study.id)
    return study
