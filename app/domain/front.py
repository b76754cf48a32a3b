"""Fronts: the non-dominated points of a study, with what is predicted and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Predicted:
    """A predicted score with its 95 % interval, in the metric's own sign and unit."""

    score: float
    low: float
    high: float


@dataclass(frozen=True)
class FrontPoint:
    """One point: `coefficients`, D; `predicted` by task; `search`, `report` by task, empty where the point was not verified."""

    coefficients: tuple[float, ...]
    predicted: Mapping[str, Predicted]
    search: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferencePoint:
    """A named merge that the front is compared with: a baseline, an individual model, the base."""

    name: str
    coefficients: tuple[float, ...]
    search: Mapping[str, float]
    report: Mapping[str, float]


@dataclass(frozen=True)
class Fit:
    """Which surrogate a task's predictions come from, why, and how well it fits its trials (plain JSON values in `details`)."""

    task: str
    surrogate: str
    trials: int
    r2: float
    loo_r2: float
    loo_rmse: float
    details: Mapping[str, object]
    predicted: tuple[float, ...]
    measured: tuple[float, ...]


@dataclass(frozen=True)
class Figures:
    """Figures of a front. `reference`: the hypervolume's reference point by task, in the metric's own sign."""

    hypervolume: float
    reference: Mapping[str, float]
    measured_hypervolume: float | None = None
    report_hypervolume: float | None = None
    win_rate: Mapping[str, float] = field(default_factory=dict)
    preference_regret: float | None = None


@dataclass(frozen=True)
class Front:
    """The result of a study; never changes once written. `columns`: the names of the D coefficients (`mnist`, or `mnist:layers.0`).

    `candidates`: the digest of the stored app.domain.candidates.Candidates; empty where there are none.
    `pairing`: that of the stored checkpoints.pairing.Pairing of its model set, likewise.
    """

    study_id: str
    columns: tuple[str, ...]
    tasks: tuple[str, ...]
    points: tuple[FrontPoint, ...]
    fits: tuple[Fit, ...]
    figures: Figures
    baselines: tuple[ReferencePoint, ...] = ()
    individuals: tuple[ReferencePoint, ...] = ()
    base: ReferencePoint | None = None
    evaluations: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    candidates: str = ""
    pairing: str = ""
