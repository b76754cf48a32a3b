"""Studies: what is searched, how, and where one stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from app.domain.errors import ConflictError
from app.domain.ids import is_registered
from app.domain.task import ExternalTask, Task, TaskSpec

MethodName = Literal["map", "bayesian", "nested", "exact"]
SurrogateName = Literal["quadratic", "gp", "output", "auto"]
SolverName = Literal["scalarised", "nsga3"]
AcquisitionName = Literal["qlognehvi", "bins", "output"]
BaselineName = Literal["average", "task_arithmetic", "ties", "dare", "adamerging"]
# those that cost nothing but evaluations
BASELINES: tuple[BaselineName, ...] = ("average", "task_arithmetic", "ties", "dare")


@dataclass(frozen=True)
class ModelSetSpec:
    """One base checkpoint and N >= 2 tuned ones, by path or id, in coefficient order."""

    base: str
    tuned: Mapping[str, str]


@dataclass(frozen=True)
class FactoryArchitecture:
    """A Python callable that returns the module: `file` or module path and the callable's name."""

    file: str
    callable: str


@dataclass(frozen=True)
class TransformersArchitecture:
    """A transformers auto class built from the base's config.json."""

    auto_class: Literal[
        "AutoModel", "AutoModelForSequenceClassification", "AutoModelForCausalLM", "AutoModelForImageClassification"
    ]
    pooling: Literal["mean", "cls", "last"] = "mean"
    normalize: bool = False


Architecture = FactoryArchitecture | TransformersArchitecture


@dataclass(frozen=True)
class SpaceSpec:
    """The box of coefficients and how layers share them: `task`, `block`, or patterns over tensor names."""

    low: float = 0.0
    high: float = 1.0
    groups: Literal["task", "block"] | tuple[str, ...] = "task"


@dataclass(frozen=True)
class TransformSpec:
    """A transform of the task vectors; `density` for ties and magnitude, `drop` and `seed` for dare."""

    name: Literal["none", "ties", "dare", "magnitude"] = "none"
    density: float = 1.0
    drop: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class MethodSpec:
    """How trials are proposed and what they are fitted with. `budget`: trials that feed the surrogate (design and adaptive).

    Of `bayesian`: what proposes, in batches of `batch`; it ends early once `patience` batches in a row have each added less than the
    share `tolerance` to the measured hypervolume. Of `nested`: `preferences`, weights by task, none for equal ones.
    """

    name: MethodName = "map"
    surrogate: SurrogateName = "auto"
    budget: int = 60
    seed: int = 0
    link: Literal["auto", "identity", "logit"] = "auto"
    ridge: float = 0.0
    acquisition: AcquisitionName = "qlognehvi"
    batch: int = 4
    tolerance: float = 1e-3
    patience: int = 3
    preferences: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class FrontSpec:
    """Size of the front, how many of its points are verified by evaluation, and the solver."""

    points: int = 100
    verify: int = 8
    solver: SolverName = "scalarised"


@dataclass(frozen=True)
class StudySpec:
    """Everything that a study is asked to do; immutable, and equal specs give equal trials on one machine.

    `architecture`: None only where every task is evaluated elsewhere.
    """

    name: str
    models: ModelSetSpec
    architecture: Architecture | None
    tasks: tuple[Task, ...]
    space: SpaceSpec = field(default_factory=SpaceSpec)
    transform: TransformSpec = field(default_factory=TransformSpec)
    method: MethodSpec = field(default_factory=MethodSpec)
    front: FrontSpec = field(default_factory=FrontSpec)
    baselines: tuple[BaselineName, ...] = BASELINES

    @property
    def tasks_here(self) -> tuple[TaskSpec, ...]:
        """Those that workers measure."""
        return tuple(task for task in self.tasks if isinstance(task, TaskSpec))

    @property
    def registered(self) -> frozenset[str]:
        """The ids of the checkpoints and datasets that it names."""
        tasks = [name.partition("#")[0] for task in self.tasks_here for name in (task.data, task.head or "")]
        return frozenset(filter(is_registered, [self.models.base, *self.models.tuned.values(), *tasks]))

    @property
    def tasks_elsewhere(self) -> tuple[ExternalTask, ...]:
        """Those that external evaluators score."""
        return tuple(task for task in self.tasks if isinstance(task, ExternalTask))


class StudyStatus(StrEnum):
    SUBMITTED = "submitted"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


STUDY_TRANSITIONS: Mapping[StudyStatus, frozenset[StudyStatus]] = {
    StudyStatus.SUBMITTED: frozenset({StudyStatus.RUNNING, StudyStatus.FAILED, StudyStatus.CANCELLED}),
    StudyStatus.RUNNING: frozenset({StudyStatus.FINISHED, StudyStatus.FAILED, StudyStatus.CANCELLED}),
    # with more budget, as the next revision
    StudyStatus.FINISHED: frozenset({StudyStatus.SUBMITTED}),
    StudyStatus.FAILED: frozenset(),
    StudyStatus.CANCELLED: frozenset(),
}


@dataclass(frozen=True)
class Failure:
    """Why something failed: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Study:
    """One search and where it stands. `digests`: sha256 by input name, fixed when the study was submitted.

    `tenant`: to whom it belongs, empty where there is but one. `revision`: how often budget was added to it. `pairing`: the digest of the
    stored checkpoints.pairing.Pairing of its model set, empty until its first trials are proposed.
    """

    id: str
    spec: StudySpec
    status: StudyStatus
    created: datetime
    updated: datetime
    digests: Mapping[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    tenant: str = ""
    revision: int = 0
    pairing: str = ""


def check_study_step(now: StudyStatus, then: StudyStatus) -> None:
    """Refuses a step that the table does not allow. Raises ConflictError."""
    if then not in STUDY_TRANSITIONS[now]:
        raise ConflictError(f"a {now} study cannot become {then}")
