"""Identifiers: a prefix that says what the thing is, then 26 characters that sort by time of birth."""

import secrets
import time
from typing import Literal

Kind = Literal["study", "trial", "ckpt", "ds", "merge", "upload", "key", "finetune"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(kind: Kind) -> str:
    """A fresh identifier such as `study_01jd...`; later ones sort after earlier ones (to the millisecond)."""
    return f"{kind}_{_encode(time.time_ns() // 1_000_000, 10)}{_encode(secrets.randbits(80), 16)}"


def is_registered(name: str) -> bool:
    """Whether an input is named by the id of something registered."""
    return name.startswith(("ckpt_", "ds_"))


def _encode(number: int, length: int) -> str:
    return "".join(_ALPHABET[(number >> 5 * place) & 31] for place in reversed(range(length)))
