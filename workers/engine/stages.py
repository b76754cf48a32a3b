"""What a study does next: the steps that a plan can ask for, and the end that every method shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.study import StudySpec
from app.domain.trial import Trial, TrialStatus

OPEN = frozenset({TrialStatus.PROPOSED, TrialStatus.MEASURING, TrialStatus.OFFERED, TrialStatus.ASKED})
FOR_WORKERS = frozenset({TrialStatus.PROPOSED, TrialStatus.MEASURING})


class Stage(StrEnum):
    """What a batch of trials is for.

    DESIGN: the first trials, with the references. ADAPTIVE: a batch where it promises most. LEVEL: the pairs of one level of a nested
    merge. VERIFY: points of the predicted front, measured on the search split. REPORT: verified points and references on the report
    split, which no choice saw.
    """

    DESIGN = "design"
    ADAPTIVE = "adaptive"
    LEVEL = "level"
    VERIFY = "verify"
    REPORT = "report"


@dataclass(frozen=True)
class Propose:
    """Trials of `stage` are due."""

    stage: Stage


@dataclass(frozen=True)
class Await:
    """The trials with the ids `open` are not measured yet."""

    open: tuple[str, ...]


@dataclass(frozen=True)
class Finish:
    """Every trial is in: the front is due."""


@dataclass(frozen=True)
class Keep:
    """The study was cancelled: a front is due from what was measured so far."""


@dataclass(frozen=True)
class Nothing:
    """The study is over, whatever its trials say."""


Step = Propose | Await | Finish | Keep | Nothing


def open_trials(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Ids of the trials that are neither finished nor failed."""
    return tuple(trial.id for trial in trials if trial.status in OPEN)


def closing_step(spec: StudySpec, trials: Sequence[Trial]) -> Step:
    """What follows once the search is over and no trial is open: verify, report, finish; again after every extension."""
    since = _after_search(trials)
    if any(trial.proposal.split == "report" for trial in since):
        return Finish()
    verified = any(trial.proposal.origin == "verify" for trial in since)
    return Propose(Stage.REPORT if verified or not spec.front.verify else Stage.VERIFY)


def searched(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Those that the budget counts."""
    return tuple(trial for trial in trials if trial.proposal.split == "search" and trial.proposal.origin in ("design", "adaptive"))


def _after_search(trials: Sequence[Trial]) -> Sequence[Trial]:
    last = max((trial.number for trial in searched(trials)), default=-1)
    return [trial for trial in trials if trial.number > last]
