"""Requests that must not be carried out twice."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class KeyedRequest:
    """A request under an idempotency key. `fingerprint`: of what was asked; `answer`: what it led to, empty while it is carried out."""

    tenant: str
    key: str
    fingerprint: str
    begun: datetime
    answer: str = ""
