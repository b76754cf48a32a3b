"""What a study does next: the steps that a plan can ask for, and the end that every method shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.study import StudySpec
from app.domain.trial import Trial, TrialStatus

OPEN = frozenset({TrialStatus.PROPOSED, TrialStatus.MEASURING})


class Stage(StrEnum):
    """What a batch of trials is for.

    DESIGN: the first trials, with the references. VERIFY: points of the predicted front, measured on the search split.
    REPORT: verified points and references on the report split, which no choice saw.
    """

    DESIGN = "design"
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
class Nothing:
    """The study is over, whatever its trials say."""


Step = Propose | Await | Finish | Nothing


def open_trials(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Ids of the trials that are neither finished nor failed."""
    return tuple(trial.id for trial in trials if trial.status in OPEN)


def closing_step(spec: StudySpec, trials: Sequence[Trial]) -> Step:
    """What follows once the search is over and no trial is open: verify, report, finish."""
    if any(trial.proposal.split == "report" for trial in trials):
        return Finish()
    verified = any(trial.proposal.origin == "verify" for trial in trials)
    return Propose(Stage.REPORT if verified or not spec.front.verify else Stage.VERIFY)
