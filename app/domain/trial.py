"""Trials: one coefficient vector with its measured scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from app.domain.errors import ConflictError
from app.domain.study import Failure, TransformSpec
from app.domain.task import Split

Origin = Literal["design", "adaptive", "verify", "baseline"]
MAX_ATTEMPTS = 3
ATTEMPTS_EXHAUSTED = "attempts_exhausted"  # the code of a trial whose every attempt ended without a word


class TrialStatus(StrEnum):
    """PROPOSED: waits for a worker; MEASURING: a worker has it. OFFERED: what workers measure of it, if anything, is in, and it waits for
    an external evaluator; ASKED: one has it.
    """

    PROPOSED = "proposed"
    MEASURING = "measuring"
    OFFERED = "offered"
    ASKED = "asked"
    FINISHED = "finished"
    FAILED = "failed"


TRIAL_TRANSITIONS: Mapping[TrialStatus, frozenset[TrialStatus]] = {
    TrialStatus.PROPOSED: frozenset({TrialStatus.MEASURING, TrialStatus.FAILED}),
    TrialStatus.MEASURING: frozenset({TrialStatus.PROPOSED, TrialStatus.OFFERED, TrialStatus.FINISHED, TrialStatus.FAILED}),
    TrialStatus.OFFERED: frozenset({TrialStatus.ASKED, TrialStatus.FAILED}),
    TrialStatus.ASKED: frozenset({TrialStatus.OFFERED, TrialStatus.FINISHED, TrialStatus.FAILED}),
    TrialStatus.FINISHED: frozenset(),
    TrialStatus.FAILED: frozenset(),
}


@dataclass(frozen=True)
class Proposal:
    """A trial to be: what is merged (`coefficients`, D, and the transform of the task vectors) and on which split it is measured.

    `label`: what a baseline calls itself (`task_arithmetic 0.3`), the level of a nested merge (`level 2`), else empty. `tasks`: those
    that are measured, empty for all.
    """

    origin: Origin
    split: Split
    coefficients: tuple[float, ...]
    label: str = ""
    transform: TransformSpec = field(default_factory=TransformSpec)
    tasks: tuple[str, ...] = ()

    def measures(self, task: str) -> bool:
        return not self.tasks or task in self.tasks


@dataclass(frozen=True)
class Trial:
    """One proposal of a study and what became of it. `number` counts from 0 within the study.

    `scores`: by task, in the metric's own sign: all when finished, those of workers once offered. `outputs`: digests by task of the
    stored per-example outputs. `seconds`: time that measuring took. `attempts`: how often the half that is due, or was last, was begun.
    """

    id: str
    study_id: str
    number: int
    proposal: Proposal
    status: TrialStatus = TrialStatus.PROPOSED
    scores: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    failure: Failure | None = None
    attempts: int = 0


@dataclass(frozen=True)
class Lease:
    """The right of a worker or an external evaluator to write one trial: only the holder of the current `token` may.

    `until`: in seconds since the epoch.
    """

    trial_id: str
    owner: str
    token: int
    until: float


@dataclass(frozen=True)
class Measurement:
    """What measuring one trial, or one half of it, gave."""

    scores: Mapping[str, float]
    outputs: Mapping[str, str]
    seconds: float


def check_trial_step(now: TrialStatus, then: TrialStatus) -> None:
    """Refuses a step that the table does not allow. Raises ConflictError."""
    if then not in TRIAL_TRANSITIONS[now]:
        raise ConflictError(f"a {now} trial cannot become {then}")
