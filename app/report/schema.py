"""The shape of front.json, once: its types build the document, check what is read back, and give the published JSON Schema."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

SCHEMA: Final = "mergefront/front@1"

Scores = Annotated[dict[str, float], Field(description="Scores by task, in the metric's own sign and unit.")]
Coefficients = Annotated[list[float], Field(description="D coefficients, in the order of `columns`.")]
Finite = Annotated[float | None, Field(description="null where the figure is not finite or not known.")]
Direction = Literal["maximize", "minimize"]

_CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)


@with_config(_CLOSED)
class StudyEntry(TypedDict):
    """Which study the front is of. Times are UTC, ISO 8601."""

    id: str
    name: str
    created: str
    updated: str


@with_config(_CLOSED)
class ModelsEntry(TypedDict):
    """The base checkpoint and the tuned ones, by path or id, in coefficient order."""

    base: str
    tuned: dict[str, str]


@with_config(_CLOSED)
class ArchitectureEntry(TypedDict):
    """What builds the module: a factory `file:callable`, or a transformers auto class."""

    kind: Literal["factory", "transformers"]
    name: str


@with_config(_CLOSED)
class SpaceEntry(TypedDict):
    """The box of coefficients and how layers share them."""

    low: float
    high: float
    groups: str | list[str]


@with_config(_CLOSED)
class TransformEntry(TypedDict):
    """The transform of the task vectors."""

    name: Literal["none", "ties", "dare", "magnitude"]
    density: float
    drop: float
    seed: int


@with_config(_CLOSED)
class MethodEntry(TypedDict):
    """How trials were proposed and the front was solved."""

    name: str
    surrogate: str
    budget: int
    link: str
    ridge: float
    solver: str
    points: int
    verify: int


@with_config(_CLOSED)
class SeedsEntry(TypedDict):
    """Every seed: of the method, of the transform, and of each task's division into splits."""

    method: int
    transform: int
    splits: dict[str, int]


@with_config(_CLOSED)
class TaskEntry(TypedDict):
    """What a task's scores mean. `low`, `high`: bounds of the metric, null where it has none.

    `splits`: shares of the examples, null where an external evaluator divides them.
    """

    name: str
    metric: str
    direction: Direction
    unit: str
    low: float | None
    high: float | None
    splits: dict[str, float] | None


@with_config(_CLOSED)
class SurrogateEntry(TypedDict):
    """A task's surrogate and how well it fits its trials. `predicted` (that trial left out) and `measured` stand side by side."""

    task: str
    surrogate: str
    trials: int
    r2: Finite
    loo_r2: Finite
    loo_rmse: Finite
    details: dict[str, Any]
    predicted: list[float]
    measured: list[float]


@with_config(_CLOSED)
class PredictedEntry(TypedDict):
    """A predicted score on the search split with its 95 % interval."""

    score: float
    low: float
    high: float


@with_config(_CLOSED)
class PointEntry(TypedDict):
    """One point of the front. `splits`: on which splits it was measured; `search`, `report`: the scores, empty where it was not."""

    point: int
    coefficients: Coefficients
    predicted: dict[str, PredictedEntry]
    splits: list[Literal["search", "report"]]
    search: Scores
    report: Scores


@with_config(_CLOSED)
class ReferenceEntry(TypedDict):
    """A merge that the front is compared with."""

    coefficients: Coefficients
    search: Scores
    report: Scores


@with_config(_CLOSED)
class FiguresEntry(TypedDict):
    """Figures of the front. `reference`: the reference point of every hypervolume. `win_rate`: by the name of the other front."""

    hypervolume: Finite
    measured_hypervolume: Finite
    report_hypervolume: Finite
    reference: Scores
    win_rate: dict[str, float]
    preference_regret: Finite


@with_config(_CLOSED)
class TrialEntry(TypedDict):
    """One trial. `label`: what a baseline calls itself. `failure`: why it has no scores, null where it has."""

    trial: int
    origin: Literal["design", "adaptive", "verify", "baseline"]
    split: Literal["search", "report"]
    label: str
    coefficients: Coefficients
    transform: TransformEntry
    status: Literal["proposed", "measuring", "offered", "asked", "finished", "failed"]
    scores: Scores
    seconds: float | None
    failure: str | None


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False, title="front.json"))
class FrontDocument(TypedDict):
    """The result of a study: what was asked, what was measured, what is predicted, and how sure that is."""

    schema: Annotated[Literal["mergefront/front@1"], Field(description="Name and version of this shape.")]
    study: StudyEntry
    models: ModelsEntry
    architecture: Annotated[ArchitectureEntry | None, Field(description="Null where every task was evaluated elsewhere.")]
    space: SpaceEntry
    transform: TransformEntry
    method: MethodEntry
    seeds: SeedsEntry
    columns: Annotated[list[str], Field(description="Names of the D coefficients: `<tuned>`, or `<tuned>:<group>`.")]
    tasks: list[TaskEntry]
    surrogates: list[SurrogateEntry]
    points: list[PointEntry]
    figures: FiguresEntry
    baselines: Annotated[dict[str, ReferenceEntry], Field(description="By name.")]
    individuals: Annotated[dict[str, ReferenceEntry], Field(description="The tuned models alone, by name.")]
    base: ReferenceEntry | None
    evaluations: Annotated[dict[str, int], Field(description="How many evaluations were spent, by what for.")]
    trials: list[TrialEntry]
    versions: Annotated[dict[str, str], Field(description="Versions of the software that made this, by name.")]
    digests: Annotated[dict[str, str], Field(description="sha256 of every input, by name, as of the study's submission.")]


def document_adapter() -> TypeAdapter[FrontDocument]:
    """Checks a document against its shape."""
    return TypeAdapter(FrontDocument)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of front.json, as published in docs/front.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document_adapter().json_schema()}
