"""All that a study's manifest names, read and proved to fit: the door behind which everything is trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.datasets.dataset import Texts
from app.domain.study import StudySpec
from checkpoints.groups import Groups
from checkpoints.model_set import ModelSet
from workers.evaluators.linearise import linear_faults
from workers.evaluators.module_binding import Binding
from workers.evaluators.network import Network
from workers.evaluators.tasks import TaskContent, read_tasks
from workers.evaluators.texts import TextReader, open_text_reader
from workers.evaluators.weights import Findings, read_weights


@dataclass(frozen=True, eq=False)
class Content:
    """A study's weights and tasks. `reader`: of texts, where a task's data are texts."""

    models: ModelSet
    network: Network
    binding: Binding
    groups: Groups
    tasks: tuple[TaskContent, ...]
    reader: TextReader | None


def read_content(spec: StudySpec) -> Content:
    """Read everything that `spec` names. Raises RefusedError with every fault, each with the path of its key."""
    findings = Findings()
    weights = read_weights(spec, findings)
    tasks = read_tasks(spec, weights, findings)
    reader = findings.attempt(lambda: _open_reader(spec, weights.network, tasks))
    if weights.models is not None and weights.network is not None:
        findings.faults += linear_faults(spec, weights.models, weights.network)
    findings.refuse()
    # without a fault nothing is absent
    assert weights.models is not None and weights.network is not None and weights.binding is not None and weights.groups is not None
    return Content(weights.models, weights.network, weights.binding, weights.groups, tuple(tasks), reader)


def _open_reader(spec: StudySpec, network: Network | None, tasks: Sequence[TaskContent]) -> TextReader | None:
    if network is None or not any(isinstance(task.dataset.inputs, Texts) for task in tasks):
        return None
    base = Path(spec.models.base)
    return open_text_reader(base if base.is_dir() else base.parent, network, "models.base")
