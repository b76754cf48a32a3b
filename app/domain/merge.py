"""Merges: the weights at one coefficient vector, virtual until somebody reads them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Merge:
    """A merge of a study that was asked for. `digest`: of inputs, transform and coefficients. `point`: its number on the front, if any."""

    id: str
    tenant: str
    study_id: str
    coefficients: tuple[float, ...]
    digest: str
    created: datetime
    point: int | None = None
