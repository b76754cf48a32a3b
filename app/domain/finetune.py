"""Fine-tuning: an adapter trained for one task."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from app.domain.errors import ConflictError
from app.domain.study import Architecture, Failure, ModelSetSpec, StudySpec
from app.domain.task import TaskSpec
from app.domain.trial import MAX_ATTEMPTS

AdapterName = Literal["lora", "llora", "tangent"]


@dataclass(frozen=True)
class AdapterSpec:
    """What trains. `targets`: names of layers or patterns over them, none for all; `seed`: of the start A0, one for all tasks."""

    kind: AdapterName = "lora"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class TrainingSpec:
    """How it trains: AdamW, its rate rising over the share `warmup` of all steps and falling as a cosine.

    Examples are those of the search split; the share `held_out` of them decides when to stop: after `patience` epochs without a better
    score. `head`: whether the task's head trains too. `seed`: of the order of examples, of what is held out, and of a fresh head.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 0.1
    batch: int = 32
    patience: int = 3
    held_out: float = 0.2
    head: bool = False
    seed: int = 0


@dataclass(frozen=True)
class FinetuneSpec:
    """Everything that a fine-tuning is asked to do; equal specs give equal adapters on one machine. `base`: a path or an id."""

    base: str
    architecture: Architecture
    task: TaskSpec
    adapter: AdapterSpec = field(default_factory=AdapterSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)

    def as_study(self) -> StudySpec:
        """What it names, where a study names it: for whoever looks through names or turns them into paths."""
        return StudySpec("finetune", ModelSetSpec(self.base, {}), self.architecture, (self.task,))

    def named_as(self, study: StudySpec) -> "FinetuneSpec":
        """The same with the names of `study`, which `as_study` gave."""
        return replace(self, base=study.models.base, task=study.tasks_here[0])


class FinetuneStatus(StrEnum):
    SUBMITTED = "submitted"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = frozenset({FinetuneStatus.SUBMITTED, FinetuneStatus.RUNNING})


@dataclass(frozen=True)
class Progress:
    """Steps taken of all."""

    step: int = 0
    steps: int = 0


@dataclass(frozen=True)
class Occurrence:
    """Something that happened, `finetune.epoch` for one; its number is its place among the others, from 1."""

    kind: str
    at: datetime
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """The right of a worker to train a fine-tuning and to write it: gone with its end, and with the next claim, whose `token` is larger."""

    finetune_id: str
    tenant: str
    token: int


@dataclass(frozen=True)
class Finetune:
    """A fine-tuning and where it stands. `digest`: of what it asks of which bytes.

    Whoever trains it holds it until `until` (seconds since the epoch; None: nobody does) under `token`, which grows with every claim.
    `checkpoint`, `head`: ids of what came out, empty until there is something. Every change is a compare-and-set of the whole.
    """

    id: str
    tenant: str
    digest: str
    spec: FinetuneSpec
    status: FinetuneStatus
    created: datetime
    updated: datetime
    attempts: int = 0
    token: int = 0
    owner: str = ""
    until: float | None = None
    progress: Progress = field(default_factory=Progress)
    scores: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str = ""
    head: str = ""
    failure: Failure | None = None
    events: tuple[Occurrence, ...] = ()

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def claim(self) -> Claim:
        """The latest."""
        return Claim(self.id, self.tenant, self.token)

    def waits(self, now: float) -> bool:
        """Whether somebody should take it up: nobody holds it, or whoever did has died."""
        return self.open and (self.until is None or self.until < now)

    def claimed(self, owner: str, until: float, at: datetime) -> "Finetune":
        """Held by `owner`; failed where its attempts are used up."""
        if self.attempts >= MAX_ATTEMPTS:
            return self.failed(Failure("attempts", f"{MAX_ATTEMPTS} attempts ended without a word: whoever trained it died"), at)
        taken = replace(
            self, status=FinetuneStatus.RUNNING, attempts=self.attempts + 1, token=self.token + 1, owner=owner, until=until, updated=at
        )
        return taken if self.status is FinetuneStatus.RUNNING else taken.with_event("finetune.running", at)

    def handed_back(self, at: datetime, further: bool) -> "Finetune":
        """Waits to be taken up again; the attempt does not count. `further`: it has come further, so that no earlier one counts either."""
        return replace(self, attempts=0 if further else self.attempts - 1, owner="", until=None, updated=at)

    def finished(self, checkpoint: str, head: str, scores: Mapping[str, float], at: datetime) -> "Finetune":
        done = replace(self._ended(FinetuneStatus.FINISHED, at), checkpoint=checkpoint, head=head, scores=scores)
        return done.with_event("finetune.finished", at, {"checkpoint": checkpoint, **({"head": head} if head else {})})

    def failed(self, failure: Failure, at: datetime) -> "Finetune":
        ended = replace(self._ended(FinetuneStatus.FAILED, at), failure=failure)
        return ended.with_event("finetune.failed", at, {"code": failure.code, "message": failure.message})

    def cancelled(self, at: datetime) -> "Finetune":
        """Raises ConflictError where it has ended."""
        if not self.open:
            raise ConflictError(f"a {self.status} fine-tuning cannot be cancelled")
        return self._ended(FinetuneStatus.CANCELLED, at).with_event("finetune.cancelled", at)

    def with_event(self, kind: str, at: datetime, data: Mapping[str, object] | None = None) -> "Finetune":
        return replace(self, events=(*self.events, Occurrence(kind, at, data or {})), updated=at)

    def _ended(self, status: FinetuneStatus, at: datetime) -> "Finetune":
        return replace(self, status=status, owner="", until=None, updated=at)
