"""Requests that must not be carried out twice."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class KeyedRequest:
    """A request under an idempotency key. `fingerprint`: of what was asked. `subject`: the id of what it makes, fixed before it is made.

    `answered`: it was carried out.
    """

    tenant: str
    key: str
    fingerprint: str
    begun: datetime
    subject: str
    answered: bool = False
