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
    """Scores by task of every merge that was measured on `split`, on all tasks; the first measurement counts."""
    return {merge_of(trial.proposal): trial.scores for trial in reversed(finished(trials, split)) if not trial.proposal.tasks}


def fitted_trials(trials: Sequence[Trial], task: str | None = None) -> tuple[Trial, ...]:
    """Those that surrogates are fitted to: everything measured on the search split that is no baseline.

    On all tasks; or on `task`, and then without those that repeat a merge and its score: whoever leaves one of them out to see how well
    the others predict it would find its answer among them.
    """
    fed = [trial for trial in finished(trials, "search") if trial.proposal.origin != "baseline"]
    if task is None:
        return tuple(trial for trial in fed if not trial.proposal.tasks)
    firsts: dict[tuple[Merge, float], Trial] = {}
    for trial in fed:
        if trial.proposal.measures(task):
            firsts.setdefault((merge_of(trial.proposal), trial.scores[task]), trial)
    return tuple(firsts.values())


def rival_trials(spec: StudySpec, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Those whose merges a front can hold, measured on all tasks: what surrogates are fitted to, and baselines of the searched space.

    A merge is measured once: where a baseline repeats another trial, the other counts.
    """
    fed = fitted_trials(trials)
    known = {merge_of(trial.proposal) for trial in fed}
    named = (trial for trial in finished(trials, "search") if trial.proposal.origin == "baseline" and not trial.proposal.tasks)
    return (*fed, *(trial for trial in named if _is_inside(spec, trial.proposal) and merge_of(trial.proposal) not in known))


def without_repeats(proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """The first proposal of every merge on every split and set of tasks."""
    firsts = {_measured(proposal): proposal for proposal in reversed(proposals)}
    return tuple(proposal for proposal in proposals if firsts[_measured(proposal)] is proposal)


def _is_inside(spec: StudySpec, proposal: Proposal) -> bool:
    inside = all(spec.space.low <= value <= spec.space.high for value in proposal.coefficients)
    return inside and merge_of(proposal)[1] == spec.transform


def _measured(proposal: Proposal) -> tuple[Split, Merge, tuple[str, ...]]:
    return proposal.split, merge_of(proposal), proposal.tasks
