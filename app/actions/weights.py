"""The weights that a study's merges are made of, opened again after its trials."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from app.domain.errors import ConflictError
from app.domain.study import ModelSetSpec
from checkpoints.digest import digest_layout
from checkpoints.layout import Layout, open_layout
from checkpoints.model_set import ModelSet
from checkpoints.pairing import Pairing, fit_paired


def open_paired(spec: ModelSetSpec, pairing: Pairing) -> ModelSet:
    """The model set of a spec whose every name is a path. Raises CheckpointError."""
    return fit_paired(open_layout(Path(spec.base)), {name: open_layout(Path(path)) for name, path in spec.tuned.items()}, pairing)


def check_unchanged(models: ModelSet, digests: Mapping[str, str], since: datetime | None) -> None:
    """Raises ConflictError where a checkpoint is no longer what the study measured. `digests`: by key; `since`: when they were taken.

    Checkpoints without a digest are not looked at. Files that were not written to since need no second reading, which would take
    longer than the merge.
    """
    layouts = {"models.base": models.base.layout}
    layouts |= {f"models.tuned.{name}": source.tensors.layout for name, source in models.sources.items()}
    suspects = {key: layout for key, layout in layouts.items() if key in digests and since is not None and _written_since(layout, since)}
    changed = [key for key, layout in suspects.items() if digest_layout(layout) != digests[key]]
    if changed:
        raise ConflictError(f"changed since the study was run: {', '.join(changed)}; its scores say nothing of these weights, run it again")


def _written_since(layout: Layout, since: datetime) -> bool:
    # ctime, since copies and archives bring their own mtime
    return any(file.path.stat().st_ctime >= since.timestamp() - 1 for file in layout.files)
