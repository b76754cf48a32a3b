"""The shape of a study manifest: the same for a YAML file, a JSON file and the body of a request."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from app.domain.study import BASELINES, AcquisitionName, BaselineName, SolverName, SurrogateName
from app.domain.task import METRICS

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Path = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def _check_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"no metric is called {name!r}; there are {', '.join(METRICS)}")
    return name


def _check_factory(factory: str) -> str:
    if not re.fullmatch(r"[^:]+:[A-Za-z_][A-Za-z0-9_.]*", factory):
        raise ValueError(f"expected FILE.py:CALLABLE, got {factory!r}")
    return factory


def _check_groups(groups: Any) -> Any:
    if groups in ("task", "block"):
        return groups
    if not isinstance(groups, list) or not groups or not all(isinstance(pattern, str) for pattern in groups):
        raise ValueError(f"expected task, block, or a list of patterns over tensor names, got {groups!r}")
    for pattern in groups:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return tuple(groups)


class Shape(BaseModel):
    """Unknown keys are faults; numbers must be finite; nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class ModelsShape(Shape):
    base: Path
    tuned: dict[Name, Path] = Field(min_length=2)


class ArchitectureShape(Shape):
    factory: Annotated[str, AfterValidator(_check_factory)] | None = None
    transformers: (
        Literal["AutoModel", "AutoModelForSequenceClassification", "AutoModelForCausalLM", "AutoModelForImageClassification"] | None
    ) = None
    pooling: Literal["mean", "cls", "last"] = "mean"
    normalize: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> "ArchitectureShape":
        if (self.factory is None) == (self.transformers is None):
            raise ValueError("give exactly one of factory and transformers")
        return self


class SplitShape(Shape):
    search: float = Field(default=0.4, gt=0, lt=1)
    report: float = Field(default=0.6, gt=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _disjoint(self) -> "SplitShape":
        if self.search + self.report > 1 + 1e-9:
            raise ValueError("search and report together exceed 1: the splits would share examples")
        return self


class TaskShape(Shape):
    data: Path
    head: Path | None = None
    metric: Annotated[str, AfterValidator(_check_metric)]
    split: SplitShape = SplitShape()
    max_length: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)


class ExternalMetricShape(Shape):
    """A score that an evaluator outside the service gives. `examples`: of how many it is the share of right answers."""

    name: Name
    direction: Literal["maximize", "minimize"] = "maximize"
    low: float | None = None
    high: float | None = None
    examples: int | None = Field(default=None, ge=1, lt=2**31)

    @model_validator(mode="after")
    def _bounds(self) -> "ExternalMetricShape":
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("low must be below high")
        if self.examples is not None and (self.low, self.high) != (0.0, 1.0):
            raise ValueError("a share of right answers among examples lies between low: 0 and high: 1")
        return self


class ExternalShape(Shape):
    external: ExternalMetricShape


class ExternalTaskShape(Shape):
    """A task that external evaluators ask for and tell the scores of."""

    metric: ExternalShape


HERE, ELSEWHERE = "[here]", "[elsewhere]"


def _where_measured(task: Any) -> str:
    return ELSEWHERE if isinstance(task, dict) and isinstance(task.get("metric"), dict) else HERE


AnyTaskShape = Annotated[
    Annotated[TaskShape, Tag(HERE)] | Annotated[ExternalTaskShape, Tag(ELSEWHERE)], Discriminator(_where_measured)
]


class SpaceShape(Shape):
    low: float = 0.0
    high: float = 1.0
    groups: Annotated[Any, AfterValidator(_check_groups)] = "task"

    @model_validator(mode="after")
    def _box(self) -> "SpaceShape":
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self


class TiesShape(Shape):
    density: float = Field(default=0.2, gt=0, le=1)


class DareShape(Shape):
    drop: float = Field(default=0.9, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**32)


class TransformShape(Shape):
    ties: TiesShape | None = None
    dare: DareShape | None = None
    magnitude: TiesShape | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "TransformShape":
        if sum(part is not None for part in (self.ties, self.dare, self.magnitude)) != 1:
            raise ValueError("give exactly one of ties, dare and magnitude, or the word none")
        return self


Preference = Annotated[dict[Name, Annotated[float, Field(ge=0)]], Field(min_length=1)]


class MethodShape(Shape):
    name: Literal["map", "bayesian", "nested", "exact"] = "map"
    surrogate: SurrogateName = "auto"
    budget: int = Field(default=60, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0, lt=2**32)
    link: Literal["auto", "identity", "logit"] = "auto"
    ridge: float = Field(default=0.0, ge=0)
    acquisition: AcquisitionName = "qlognehvi"
    batch: int = Field(default=4, ge=1, le=1_000)
    tolerance: float = Field(default=1e-3, ge=0, lt=1)
    patience: int = Field(default=3, ge=1, le=1_000)
    preference: Preference | None = None
    preferences: Annotated[list[Preference], Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "MethodShape":
        if self.preference is not None and self.preferences is not None:
            raise ValueError("give preference or preferences, not both")
        return self


class FrontShape(Shape):
    points: int = Field(default=100, ge=2, le=10_000)
    verify: int = Field(default=8, ge=0, le=1_000)
    solver: SolverName = "scalarised"


_NONE = BeforeValidator(lambda given: None if given == "none" else given, json_schema_input_type=TransformShape | Literal["none"] | None)


class ManifestShape(Shape):
    name: Name
    models: ModelsShape
    architecture: ArchitectureShape | None = None
    tasks: dict[Name, AnyTaskShape] = Field(min_length=1)
    space: SpaceShape = SpaceShape()
    transform: Annotated[TransformShape | None, _NONE] = None
    method: MethodShape = MethodShape()
    front: FrontShape = FrontShape()
    baselines: list[BaselineName] = list(BASELINES)
