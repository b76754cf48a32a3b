"""The checkpoints of a merge, opened without more of the machine room than they need."""

from pathlib import Path

from app.domain.study import StudySpec, TransformersArchitecture
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


def _layout(path: str) -> Layout:
    return open_layout(Path(path))
