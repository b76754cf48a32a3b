"""Registered weights and data: immutable, known by the digests of their files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

CheckpointKind = Literal["full", "lora", "tangent"]


@dataclass(frozen=True)
class Checkpoint:
    """Weights: `files` by their path within the checkpoint, as sha256, or `reference`, where they lie. `digest`: of the whole.

    With a reference to another machine, `files` says what they were when they were registered, so that a change is found out.
    """

    id: str
    tenant: str
    kind: CheckpointKind
    digest: str
    size: int
    created: datetime
    files: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""


@dataclass(frozen=True)
class Dataset:
    """Examples of a task, as a checkpoint's files are."""

    id: str
    tenant: str
    digest: str
    size: int
    created: datetime
    files: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
