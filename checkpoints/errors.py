"""Errors of weights on disk, one tree:

CheckpointError
├── HeaderError          checkpoint.header        a safetensors header that breaks the format or our limits
├── LayoutError          checkpoint.layout        a path that holds no readable weights (missing, pickle, no index, no weights)
├── MisfitError          checkpoint.misfit        checkpoints that do not fit each other; `faults` names every misfit at once
├── NotFiniteError       checkpoint.not_finite    a NaN or infinity in an input tensor
├── WriteError           checkpoint.write         the merged weights could not be written; nothing is left behind
└── ExportError          checkpoint.export        a merge that the asked form (recipe, adapter) cannot hold exactly; `faults` says why
"""

from collections.abc import Sequence
from pathlib import Path


class CheckpointError(Exception):
    """Root of the tree; `code` is stable, `faults` lists every single thing that is wrong (at least one)."""

    code = "checkpoint.error"

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults) or (message,)


class HeaderError(CheckpointError):
    code = "checkpoint.header"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class LayoutError(CheckpointError):
    code = "checkpoint.layout"


class MisfitError(CheckpointError):
    code = "checkpoint.misfit"


class NotFiniteError(CheckpointError):
    code = "checkpoint.not_finite"


class WriteError(CheckpointError):
    code = "checkpoint.write"


class ExportError(CheckpointError):
    code = "checkpoint.export"
