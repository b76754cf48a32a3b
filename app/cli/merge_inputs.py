"""The checkpoints of a merge, opened without more of the machine room than they need."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from app.domain.errors import ConflictError
from app.domain.study import StudySpec, TransformersArchitecture
from checkpoints.digest import digest_layout
from checkpoints.errors import MisfitError
from checkpoints.layout import Layout, open_layout
from checkpoints.model_set import ModelSet, fit_model_set

_WITHOUT_HEADS = ("AutoModel", "AutoModelForCausalLM")


def open_models(spec: StudySpec) -> ModelSet:
    """The model set as the study read it.

    Building the network takes longer than many a merge. Where no task can have a head of its own inside the checkpoints,
    and they fit as they stand, the network has nothing to add.
    """
    architecture = spec.architecture
    if isinstance(architecture, TransformersArchitecture) and architecture.auto_class in _WITHOUT_HEADS:
        try:
            return fit_model_set(_layout(spec.models.base), {name: _layout(path) for name, path in spec.models.tuned.items()})
        except MisfitError:
            pass  # names of one family, or left-over heads: the network knows which
    from workers.evaluators.weights import open_models as open_with_network

    return open_with_network(spec.models, spec.architecture)


def check_unchanged(models: ModelSet, digests: Mapping[str, str], since: datetime | None) -> None:
    """Raises ConflictError where a checkpoint is no longer what the study measured. `digests`: by key; `since`: when they were taken.

    Files that were not written to since need no second reading, which would take longer than the merge.
    """
    layouts = {"models.base": models.base.layout}
    layouts |= {f"models.tuned.{name}": source.tensors.layout for name, source in models.sources.items()}
    suspects = {key: layout for key, layout in layouts.items() if since is not None and _written_since(layout, since)}
    changed = [key for key, layout in suspects.items() if digest_layout(layout) != digests[key]]
    if changed:
        raise ConflictError(f"changed since the study was run: {', '.join(changed)}; its scores say nothing of these weights, run it again")


def _written_since(layout: Layout, since: datetime) -> bool:
    # ctime, since copies and archives bring their own mtime
    return any(file.path.stat().st_ctime >= since.timestamp() - 1 for file in layout.files)


def _layout(path: str) -> Layout:
    return open_layout(Path(path))
