"""Errors of the product, one tree. Edges translate them (HTTP status, exit code); nothing in here knows either.

MergefrontError
├── RefusedError            refused              the input cannot be worked on; `faults` names everything that is wrong
│   └── ManifestError       manifest             a study manifest with faults, each with the path of its key
├── NotFoundError           not_found            no such study, trial, checkpoint, dataset or merge
│   └── GoneError           gone                 something that is named was dropped for good
├── ConflictError           conflict             the thing exists and differs, or its status does not allow the step
│   ├── NotReadyError       not_ready            what the step needs comes by itself: ask again in a moment
│   ├── StaleLeaseError     stale_lease          a worker wrote with a token that is no longer the current one
│   └── OffsetError         offset               bytes that do not continue an upload where it stands; `offset` says where
├── QuotaError              quota                what one tenant may store is used up
├── UnmetError              unmet                what was asked of the front cannot be had (infeasible constraints, too few trials)
├── MeasurementError        measurement          a trial could not be measured (non-finite outputs, out of memory)
└── UnavailableError        unavailable          a part that the work needs is missing or cannot be reached
    └── StorageFullError    storage_full         there is no room left where bytes are kept
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: `where` is the path of a key (`tasks.mnist.data`), empty for the whole."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" if self.where else self.problem


class MergefrontError(Exception):
    """Root of the tree; `code` is stable, the message says what is wrong, where, and what to do."""

    code = "error"


class RefusedError(MergefrontError):
    code = "refused"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class ManifestError(RefusedError):
    code = "manifest"


class NotFoundError(MergefrontError):
    code = "not_found"


class GoneError(NotFoundError):
    code = "gone"


class ConflictError(MergefrontError):
    code = "conflict"


class NotReadyError(ConflictError):
    code = "not_ready"


class StaleLeaseError(ConflictError):
    code = "stale_lease"


class OffsetError(ConflictError):
    code = "offset"

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class QuotaError(MergefrontError):
    code = "quota"


class UnmetError(MergefrontError):
    code = "unmet"


class MeasurementError(MergefrontError):
    code = "measurement"


class UnavailableError(MergefrontError):
    code = "unavailable"


class StorageFullError(UnavailableError):
    code = "storage_full"
