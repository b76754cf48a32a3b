"""API keys: who asks, and how much they may."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

PREFIX = "mf_"


class Scope(StrEnum):
    """What a key allows; each scope includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def covers(self, needed: "Scope") -> bool:
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = tuple(Scope)


@dataclass(frozen=True)
class Key:
    """A key as it is kept: `digest` is the sha256 of the secret, which nobody keeps. `name`: what people know it by."""

    id: str
    tenant: str
    scope: Scope
    digest: str
    created: datetime
    name: str = ""


def new_secret() -> str:
    """A fresh secret, 256 bits, to be shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_secret(secret: str) -> str:
    """What is kept of a secret. A plain sha256: 256 random bits need no stretching."""
    return hashlib.sha256(secret.encode()).hexdigest()
