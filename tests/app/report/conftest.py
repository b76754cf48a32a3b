"""Plausible finished studies: tasks that disagree about the coefficients, with samples, a front, baselines, and noise of sampling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from app.domain.front import Figures, Fit, Front, FrontPoint, Predicted, ReferencePoint
from app.domain.study import FactoryArchitecture, Failure, MethodSpec, ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.task import METRICS, SplitShares, TaskSpec
from app.domain.trial import Origin, Proposal, Trial, TrialStatus

NAMES = ("mnist", "fashion", "animal", "landsat", "svhn", "pets", "flowers", "textures")


@dataclass(frozen=True)
class Run:
    study: Study
    trials: tuple[Trial, ...]
    front: Front


class World:
    """The truth that a made-up study samples: one concave score a task, each with its own best corner."""

    def __init__(self, names: Sequence[str], metrics: Sequence[str], seed: int) -> None:
        self.names, self.metrics = tuple(names), tuple(metrics)
        self.random = np.random.default_rng(seed)
        count = len(self.names)
        self.conflict = self.random.uniform(0.1, 0.9, (count, count)) * 0.6
        self.top = self.random.uniform(0.75, 0.98, count)

    def goodness(self, c: np.ndarray) -> np.ndarray:
        own = 1 - (1 - c) ** 2
        others = (c**2) @ (self.conflict * (1 - np.eye(len(self.names)))).T
        return np.clip(self.top * (0.4 + 0.6 * own) * np.exp(-others * 1.2 / len(self.names)), 0.02, 0.995)

    def scores(self, c: np.ndarray, noise: float) -> dict[str, float]:
        good = np.clip(self.goodness(c) + self.random.normal(0, noise, len(self.names)), 0.01, 0.999)
        return {name: self._score(metric, value) for name, metric, value in zip(self.names, self.metrics, good, strict=True)}

    def predicted(self, c: np.ndarray) -> dict[str, Predicted]:
        found = {}
        for name, metric, value in zip(self.names, self.metrics, self.goodness(c), strict=True):
            low, high = (self._score(metric, np.clip(value + shift, 0.01, 0.999)) for shift in (-0.03, 0.03))
            found[name] = Predicted(self._score(metric, value), min(low, high), max(low, high))
        return found

    @staticmethod
    def _score(metric: str, goodness: float) -> float:
        return float(goodness) if METRICS[metric].maximize else float(1.0 + 12.0 * (1.0 - goodness))


def _front_coefficients(world: World, points: int) -> np.ndarray:
    many = world.random.dirichlet(np.full(len(world.names), 1.2), 300) * world.random.uniform(0.8, 3, (300, 1))
    many = np.clip(many, 0, 1)
    good = world.goodness(many)
    kept = [row for row in range(len(many)) if not ((good >= good[row]).all(1) & (good > good[row]).any(1)).any()]
    order = sorted(kept, key=lambda row: good[row, 0])
    return many[[order[round(place)] for place in np.linspace(0, len(order) - 1, min(points, len(order)))]]


def _fit(world: World, task: str, trials: Sequence[Trial]) -> Fit:
    measured = [trial.scores[task] for trial in trials if trial.proposal.origin == "design" and trial.status is TrialStatus.FINISHED]
    spread = float(np.std(measured))
    predicted = [value + float(world.random.normal(0, 0.12 * spread)) for value in measured]
    rmse = float(np.sqrt(np.mean((np.array(predicted) - measured) ** 2)))
    return Fit(
        task=task,
        surrogate="quadratic",
        trials=len(measured),
        r2=0.99,
        loo_r2=1 - rmse**2 / spread**2,
        loo_rmse=rmse,
        details={"link": "logit", "rank": 15, "parameters": 15, "condition": 41.5, "choice": "least leave-one-out error"},
        predicted=tuple(predicted),
        measured=tuple(measured),
    )


def build_run(
    names: Sequence[str] = NAMES[:3],
    metrics: Sequence[str] | None = None,
    *,
    study_name: str = "images",
    points: int = 40,
    verify: int = 8,
    budget: int = 40,
    seed: int = 0,
) -> Run:
    metrics = tuple(metrics or ["accuracy"] * len(names))
    world = World(names, metrics, seed)
    count = len(names)
    trials: list[Trial] = []

    def measure(origin: Origin, split: str, c: np.ndarray, label: str = "") -> dict[str, float]:
        proposal = Proposal(origin, split, tuple(map(float, c)), label)  # type: ignore[arg-type]
        scores = world.scores(c, 0.012 if split == "search" else 0.008)
        number = len(trials)
        trials.append(Trial(f"trial_{number}", "study_1", number, proposal, TrialStatus.FINISHED, scores, {}, 1.25 + number / 7))
        return scores

    def reference(name: str, c: np.ndarray, origin: Origin, report: bool) -> ReferencePoint:
        search = measure(origin, "search", c, name)
        return ReferencePoint(name, tuple(map(float, c)), search, measure(origin, "report", c, name) if report else {})

    base = reference("base", np.zeros(count), "design", True)
    individuals = tuple(reference(name, np.eye(count)[n], "design", True) for n, name in enumerate(names))
    for _ in range(budget - count - 1):
        measure("design", "search", world.random.uniform(0, 1, count))
    broken = Proposal("design", "search", tuple([1.0] * count))
    failure = Failure("measurement", "the outputs of the merge hold a value that is not finite")
    trials.append(Trial("trial_x", "study_1", len(trials), broken, TrialStatus.FAILED, failure=failure, attempts=1))
    baselines = (
        reference("average", np.full(count, 1 / count), "baseline", True),
        *(reference(f"task_arithmetic {k / 10}", np.full(count, k / 10), "baseline", k == 4) for k in range(1, 11)),
        *(reference(f"ties {k}", np.full(count, k * 0.8), "baseline", k == 0.6) for k in (0.3, 0.6, 1.0)),
        *(reference(f"dare {k}", np.full(count, k * 0.9), "baseline", k == 0.3) for k in (0.3, 0.6, 1.0)),
    )
    coefficients = _front_coefficients(world, points)
    verified = set(np.linspace(0, len(coefficients) - 1, verify).round().astype(int)) if verify else set()
    found = tuple(
        FrontPoint(
            tuple(map(float, c)),
            world.predicted(c),
            measure("verify", "search", c) if number in verified else {},
            measure("verify", "report", c) if number in verified else {},
        )
        for number, c in enumerate(coefficients)
    )
    task_specs = tuple(
        TaskSpec(name, f"data/{number}.safetensors", metric, SplitShares())
        for number, (name, metric) in enumerate(zip(names, metrics, strict=True))
    )
    spec = StudySpec(
        name=study_name,
        models=ModelSetSpec("base.safetensors", {name: f"tuned-{n}.safetensors" for n, name in enumerate(names)}),
        architecture=FactoryArchitecture("net.py", "Net"),
        tasks=task_specs,
        method=MethodSpec(surrogate="quadratic", budget=budget),
    )
    reference_point = {task.name: 0.0 if task.measure.maximize else 13.0 for task in task_specs}
    front = Front(
        study_id="study_1",
        columns=tuple(names),
        tasks=tuple(names),
        points=found,
        fits=tuple(_fit(world, name, trials) for name in names),
        figures=Figures(0.6123, reference_point, 0.6011, 0.5987, {"average": 0.71}, 0.034),
        baselines=baselines,
        individuals=individuals,
        base=base,
        evaluations={"design search": budget, "baseline search": 17, "verify search": verify, "verify report": verify},
        versions={"mergefront": "0.1.0", "torch": "2.13.0"},
    )
    when = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    study = Study("study_1", spec, StudyStatus.FINISHED, when, when, {"models.base": "ab" * 32, f"models.tuned.{names[0]}": "cd" * 32})
    return Run(study, tuple(trials), front)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    return build_run
