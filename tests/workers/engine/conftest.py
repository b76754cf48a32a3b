"""A study of two tasks whose scores are known functions of the coefficients, and everything it runs in, in memory."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from app.blobs.memory import MemoryBlobs
from app.domain.errors import MeasurementError
from app.domain.front import Front
from app.domain.study import FactoryArchitecture, FrontSpec, MethodSpec, ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.task import SplitShares, TaskSpec
from app.domain.trial import Proposal, Trial, TrialStatus
from app.jobs.inline import InlineJobs
from app.store.memory import MemoryStore
from checkpoints.pairing import Pairing
from workers.engine.advance import advance
from workers.engine.measure import measure
from workers.engine.sweep import sweep
from workers.engine.workshop import Workshop
from workers.evaluators.protocol import Evaluation

settings.register_profile("engine", deadline=None, max_examples=50)
settings.load_profile("engine")

STUDY = "study_0000000000000000000000test"
OPTIMA = {"left": (0.9, 0.2), "right": (0.2, 0.8)}
SAMPLES = {"search": 64, "report": 96}


def spec_of(metric: str = "mse", tuned: int = 2, **changes: object) -> StudySpec:
    """A small study; `changes` replace its fields."""
    spec = StudySpec(
        name="small",
        models=ModelSetSpec("base", {name: name for name in ("left", "right", "third", "fourth")[:tuned]}),
        architecture=FactoryArchitecture("net.py", "Net"),
        tasks=tuple(TaskSpec(name, f"{name}.csv", metric, SplitShares()) for name in OPTIMA),
        method=MethodSpec(surrogate="quadratic", budget=10, seed=3, link="identity"),
        front=FrontSpec(points=12, verify=3),
    )
    return replace(spec, **changes)


def trial_of(number: int, proposal: Proposal, status: TrialStatus = TrialStatus.FINISHED, **scores: float) -> Trial:
    return Trial(f"trial_{number}", STUDY, number, proposal, status, scores)


@dataclass(frozen=True)
class LinearTask:
    """A task whose outputs are affine in the coefficients: values with squared error ‖c - optimum‖², or logits of three classes."""

    metric: str
    start: Mapping[str, Tensor]
    slopes: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]

    def outputs(self, coefficients: Tensor, split: str) -> Tensor:
        return self.start[split] + torch.tensordot(coefficients.float(), self.slopes[split], dims=1)

    classes = None

    def examples(self, split: str) -> int:
        return len(self.start[split])

    def score(self, outputs: Tensor, split: str = "search") -> Tensor:
        outputs = outputs.double()
        if self.metric == "mse":
            return (outputs - self.targets[split]).square().mean((-2, -1))
        return (outputs.argmax(-1) == self.targets[split]).double().mean(-1)

    def smooth(self, outputs: Tensor) -> Tensor:
        if self.metric == "mse":
            return self.score(outputs)
        index = self.targets["search"].expand(outputs.shape[:-1])[..., None]
        return outputs.double().softmax(-1).gather(-1, index)[..., 0].mean(-1)

    def deviation(self, outputs: Tensor) -> Tensor:
        losses = (outputs.double() - self.targets["search"]).square().mean(-1)
        return losses.std(-1) / losses.shape[-1] ** 0.5


def squared_error_task(optimum: Tensor, seed: int) -> LinearTask:
    draw = torch.Generator().manual_seed(seed)
    start, slopes, targets = {}, {}, {}
    for split, count in SAMPLES.items():
        basis = torch.linalg.qr(torch.randn(count, len(optimum), generator=draw))[0] * count**0.5
        slopes[split] = basis.T[:, :, None].contiguous()
        start[split] = torch.randn(count, 1, generator=draw)
        targets[split] = start[split] + (basis @ optimum.float())[:, None]
    return LinearTask("mse", start, slopes, targets)


def logits_task(optimum: Tensor, seed: int) -> LinearTask:
    draw = torch.Generator().manual_seed(seed)
    start, slopes, targets = {}, {}, {}
    for split, count in SAMPLES.items():
        start[split] = torch.randn(count, 3, generator=draw)
        slopes[split] = 3 * torch.randn(len(optimum), count, 3, generator=draw)
        clear = start[split] + torch.tensordot(optimum.float(), slopes[split], dims=1)
        targets[split] = clear.argmax(-1)
    return LinearTask("accuracy", start, slopes, targets)


@dataclass
class AnalyticEvaluator:
    """Measures by formula and counts what it was asked. `fault`: what befalls a proposal before it is measured."""

    spec: StudySpec
    groups: int = 1
    fault: Callable[[Proposal], None] = lambda proposal: None
    asked: Counter[Proposal] = field(default_factory=Counter)
    plan: str = "analytic"
    pairing: Pairing = Pairing()

    def __post_init__(self) -> None:
        rest = (0.1,) * (len(self.spec.models.tuned) * self.groups - 2)
        build = squared_error_task if self.spec.tasks[0].metric == "mse" else logits_task
        self.scorers = {name: build(torch.tensor(OPTIMA[name] + rest), seed) for seed, name in enumerate(OPTIMA)}
        self.gram = torch.eye(len(rest) + 2, dtype=torch.float64)

    @property
    def group_labels(self) -> tuple[str, ...]:
        patterns = self.spec.space.groups
        return patterns if isinstance(patterns, tuple) else tuple(f"part-{number}" for number in range(self.groups))

    def evaluate(self, proposal: Proposal) -> Evaluation:
        self.fault(proposal)
        self.asked[proposal] += 1
        effective = torch.tensor(proposal.coefficients) * (1.0 if proposal.transform.name == "none" else 0.7)
        outputs = {name: task.outputs(effective, proposal.split) for name, task in self.scorers.items()}
        scores = {name: float(self.scorers[name].score(found, proposal.split)) for name, found in outputs.items()}
        return Evaluation(scores, {name: found.half() for name, found in outputs.items()})


@dataclass
class House:
    """One study with its records, bytes, wake-ups and evaluator. `now` is the clock."""

    store: MemoryStore
    blobs: MemoryBlobs
    evaluator: AnalyticEvaluator
    jobs: InlineJobs
    now: float = 0.0

    @property
    def workshop(self) -> Workshop:
        return Workshop(self.store, self.blobs, self.jobs, lambda study: self.evaluator, "tester", clock=lambda: self.now)

    @property
    def study(self) -> Study:
        return self.store.study(STUDY)

    @property
    def trials(self) -> tuple[Trial, ...]:
        return self.store.trials(STUDY)

    @property
    def handlers(self) -> dict[str, Callable[[str], None]]:
        return {
            "advance_study": lambda subject: advance(self.workshop, subject),
            "measure_trial": lambda subject: measure(self.workshop, subject),
        }

    def run(self, jobs: int | None = None) -> None:
        """Runs `jobs` waiting jobs, or all there are."""
        for done, _ in enumerate(self.jobs.drain(self.handlers), 1):
            if done == jobs:
                return

    def start_again(self) -> None:
        """What a new process does after the old one died with its wake-ups: the leases run out, the sweeper finds the rest."""
        self.jobs = InlineJobs()
        self.now += 1000.0
        sweep(self.store, self.jobs, self.now)

    def finish(self) -> Front:
        """The front, once all that waits has run."""
        self.run()
        assert self.study.status is StudyStatus.FINISHED, self.study.failure
        return self.store.front(STUDY)


@pytest.fixture
def house(tmp_path):
    """Makes a house with the study of a spec submitted."""

    def make(spec: StudySpec | None = None, store: MemoryStore | None = None, **settings: object) -> House:
        wanted = spec or spec_of()
        built = House(store or MemoryStore(), MemoryBlobs(tmp_path), AnalyticEvaluator(wanted, **settings), InlineJobs())
        born = datetime(2026, 1, 1, tzinfo=UTC)
        built.store.add_study(Study(STUDY, wanted, StudyStatus.SUBMITTED, born, born))
        built.jobs.send("advance_study", STUDY)
        return built

    return make


@pytest.fixture(scope="session")
def spec():
    return spec_of


@pytest.fixture(scope="session")
def trial():
    return trial_of


@pytest.fixture(scope="session")
def unmeasurable():
    """A fault: proposals that `chosen` picks come out as not finite."""

    def fault(chosen: Callable[[Proposal], bool]) -> Callable[[Proposal], None]:
        def befall(proposal: Proposal) -> None:
            if chosen(proposal):
                raise MeasurementError("left: outputs are not finite")

        return befall

    return fault
