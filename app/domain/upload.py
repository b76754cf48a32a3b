"""Uploads: bytes on their way in."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Upload:
    """Bytes announced by `digest` (sha256) and `size`. How many of them are there, the file says that they are written to.

    `checked`: all were there, and were the announced ones.
    """

    id: str
    tenant: str
    digest: str
    size: int
    created: datetime
    checked: bool = False


@dataclass(frozen=True)
class Holding:
    """A tenant has given these bytes, so it may name them."""

    digest: str
    size: int
