"""Which trials measured which merge: trials are looked up by what was merged, not by when."""

from collections.abc import Mapping, Sequence

from app.domain.study import StudySpec, TransformSpec
from app.domain.task import Split
from app.domain.trial import Proposal, Trial, TrialStatus

Merge = tuple[tuple[float, ...], TransformSpec]
"""Coefficients and transform: equal values give equal weights."""


def merge_of(proposal: Proposal) -> Merge:
    """What `proposal` merges; at the origin no transform makes a difference."""
    at_origin = not any(proposal.coefficients)
    return proposal.coefficients, TransformSpec() if at_origin else proposal.transform


def finished(trials: Sequence[Trial], split: Split) -> tuple[Trial, ...]:
    """Those that were measured on `split`."""
    return tuple(trial for trial in trials if trial.status == TrialStatus.FINISHED and trial.proposal.split == split)


def measured_scores(trials: Sequence[Trial], split: Split) -> Mapping[Merge, Mapping[str, float]]:
    """Scores by task of every merge that was measured on `split`; the first measurement counts."""
    return {merge_of(trial.proposal): trial.scores for trial in reversed(finished(trials, split))}


def fitted_trials(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Those that surrogates are fitted to: everything measured on the search split that is no baseline."""
    return tuple(trial for trial in finished(trials, "search") if trial.proposal.origin != "baseline")


def verified_trials(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Points of the predicted front that were measured on the search split."""
    return tuple(trial for trial in finished(trials, "search") if trial.proposal.origin == "verify")


def without_repeats(proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """The first proposal of every merge on every split."""
    firsts = {(proposal.split, merge_of(proposal)): proposal for proposal in reversed(proposals)}
    return tuple(proposal for proposal in proposals if firsts[proposal.split, merge_of(proposal)] is proposal)


def columns(spec: StudySpec, dimension: int) -> tuple[str, ...]:
    """Names of the `dimension` coefficients, tuned model after tuned model: `mnist`, or `mnist:<group>` where grouped."""
    groups = dimension // len(spec.models.tuned)
    if groups == 1 and spec.space.groups == "task":
        return tuple(spec.models.tuned)
    return tuple(f"{name}:{group}" for name in spec.models.tuned for group in _group_names(spec, groups))


def _group_names(spec: StudySpec, count: int) -> tuple[str, ...]:
    if isinstance(spec.space.groups, str):
        return tuple(f"{spec.space.groups}.{number}" for number in range(count))
    # tensors that no pattern names form the last group
    return (*spec.space.groups, "rest")[:count]
