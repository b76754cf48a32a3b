"""The trials of every stage. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from app.domain.budget import least_budget
from app.domain.errors import Fault, RefusedError
from app.domain.study import MethodSpec, StudySpec
from app.domain.task import Split
from app.domain.trial import Origin, Proposal, Trial, TrialStatus
from surrogate.acquisition import batch_seed, propose_batch
from surrogate.design import initial_design
from surrogate.exact import affine_design
from workers.engine.arrays import Evidence, Scores, list_coefficients, stack_coefficients
from workers.engine.fits import Fits
from workers.engine.merges import Merge, measured_scores, merge_of, without_repeats
from workers.engine.normalised import individual_scores, normalise, own_scores
from workers.engine.references import ADAMERGING, Reference, best_of_families, known_references, references
from workers.engine.selection import standing_trials
from workers.engine.stages import OPEN, searched
from workers.evaluators.protocol import Adaptive, Evaluator

# Each moves a coefficient by a hundredth at most: enough to cross the box.
ADAMERGING_STEPS = 150


def propose_design(spec: StudySpec, dimension: int, trials: Sequence[Trial] = ()) -> tuple[Proposal, ...]:
    """The design and the references that are not among it, on the search split.

    The design has `method.budget` trials, that of `bayesian` as few as can be fitted, that of `nested` the corners only. Where a
    smaller budget was spent (`trials`), what is missing: a longer design begins with the shorter one. `exact` has D + 1, and no more.
    """
    tuned = len(spec.models.tuned)
    space, method = spec.space, spec.method
    if method.name == "exact":
        design = affine_design(dimension, space.low, space.high)
    else:
        design = initial_design(tuned, dimension // tuned, _design_size(method, dimension), method.seed, space.low, space.high)
    missing = _of_study(spec, "search", "design", design[len(searched(trials)) :])
    compared = [reference.proposal("search") for reference in references(spec, dimension)]
    return without_repeats(missing if trials else [*missing, *compared])


def propose_adapted(spec: StudySpec, evaluator: Evaluator) -> tuple[Proposal, ...]:
    """The merge that AdaMerging finds, on the search split, where the spec wants it as a baseline.

    Raises RefusedError where there is no network to take gradients of.
    """
    if ADAMERGING not in spec.baselines:
        return ()
    if not isinstance(evaluator, Adaptive):
        raise RefusedError([Fault("baselines", "adamerging takes gradients, for which the networks have to run here: leave it out")])
    found = evaluator.adamerge(spec.transform, spec.space, ADAMERGING_STEPS, spec.method.seed)
    return (Proposal("baseline", "search", found, ADAMERGING, spec.transform),)


def propose_adaptive(evidence: Evidence, fits: Fits, trials: Sequence[Trial]) -> tuple[Proposal, ...]:
    """The next `method.batch` trials, or what the budget leaves of them, knowing which are still being measured."""
    spec, method = evidence.spec, evidence.spec.method
    waiting = [trial.proposal.coefficients for trial in searched(trials) if trial.status in OPEN]
    points = propose_batch(
        method.acquisition,
        list(evidence.histories.values()),
        list(fits.values()),
        pending=stack_coefficients(waiting, evidence.dimension),
        q=min(method.batch, method.budget - len(searched(trials))),
        low=spec.space.low,
        high=spec.space.high,
        seed=batch_seed(method.seed, len(trials)),
        gram=evidence.gram,
    )
    return tuple(_of_study(spec, "search", "adaptive", points))


def propose_verification(spec: StudySpec, points: Tensor, trials: Sequence[Trial] = ()) -> tuple[Proposal, ...]:
    """`points`, n x D, on the search split, those of them that `trials` have not verified."""
    return _unmeasured(_of_study(spec, "search", "verify", points), trials)


def propose_report(spec: StudySpec, dimension: int, trials: Sequence[Trial]) -> tuple[Proposal, ...]:
    """On the report split: the trials that stand, the base, the tuned models, and the best of each baseline family."""
    named = known_references(spec, dimension, trials)
    search = measured_scores(trials, "search")
    standing = [replace(trial.proposal, split="report") for trial in standing_trials(spec, trials)]
    plain = [reference for reference in named if not reference.is_baseline]
    chosen = [*plain, *best_of_families(named, merits(spec, named, search))]
    return _unmeasured([*standing, *(reference.proposal("report") for reference in chosen)], trials)


def merits(spec: StudySpec, named: Sequence[Reference], search: Mapping[Merge, Scores]) -> Mapping[Merge, float]:
    """Mean normalised search score of the named merges; without any tuned model's score every merit is 0."""
    own = own_scores(spec, individual_scores(named, search))
    found = [reference.merge for reference in named if reference.merge in search]
    if own is None or not found:
        return dict.fromkeys(found, 0.0)
    means = normalise(spec, own, [search[merge] for merge in found]).mean(1)
    return dict(zip(found, means.tolist(), strict=True))


def _design_size(method: MethodSpec, dimension: int) -> int:
    match method.name:
        case "bayesian":
            return min(method.budget, least_budget(method, dimension))
        case "nested":
            return dimension + 1
        case _:
            return method.budget


def _unmeasured(proposals: Sequence[Proposal], trials: Sequence[Trial]) -> tuple[Proposal, ...]:
    """Those that no finished trial has measured as a verification or a report; never none of several.

    A stage is known by its trials: where nothing is left to measure, its first is measured again and stands for it.
    """
    once = without_repeats(proposals)
    closing = [trial.proposal for trial in trials if trial.status is TrialStatus.FINISHED and _is_closing(trial.proposal)]
    done = {(proposal.split, merge_of(proposal)) for proposal in closing}
    return tuple(one for one in once if (one.split, merge_of(one)) not in done) or once[:1]


def _is_closing(proposal: Proposal) -> bool:
    return proposal.origin == "verify" or proposal.split == "report"


def _of_study(spec: StudySpec, split: Split, origin: Origin, points: Tensor) -> list[Proposal]:
    return [Proposal(origin, split, row, transform=spec.transform) for row in list_coefficients(points)]
