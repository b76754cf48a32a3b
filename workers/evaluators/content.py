"""All that a study's manifest names, read and proved to fit: the door behind which everything is trusted."""

from dataclasses import dataclass

from app.domain.study import StudySpec
from checkpoints.groups import Groups
from checkpoints.model_set import ModelSet
from workers.evaluators.module_binding import Binding
from workers.evaluators.network import Network
from workers.evaluators.tasks import TaskContent, read_tasks
from workers.evaluators.weights import Findings, read_weights


@dataclass(frozen=True, eq=False)
class Content:
    """A study's weights and tasks."""

    models: ModelSet
    network: Network
    binding: Binding
    groups: Groups
    tasks: tuple[TaskContent, ...]


def read_content(spec: StudySpec) -> Content:
    """Read everything that `spec` names. Raises RefusedError with every fault, each with the path of its key."""
    findings = Findings()
    weights = read_weights(spec, findings)
    tasks = read_tasks(spec, weights, findings)
    findings.refuse()
    # without a fault nothing is absent
    assert weights.models is not None and weights.network is not None and weights.binding is not None and weights.groups is not None
    return Content(weights.models, weights.network, weights.binding, weights.groups, tuple(tasks))
