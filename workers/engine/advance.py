"""Takes a study one step further. Idempotent: the step follows from the rows, and a row changed meanwhile refuses it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from torch import Tensor

from app.domain.errors import ConflictError
from app.domain.front import Front
from app.domain.study import Study, StudyStatus
from app.domain.trial import Proposal, Trial
from app.store.codec import encode
from app.store.port import Store
from workers.engine.arrays import Evidence, gather_evidence
from workers.engine.assembly import assemble_front
from workers.engine.failures import STUDY_FAULTS, fail_study, forgo_front
from workers.engine.fits import fit_tasks
from workers.engine.levels import nested_points, propose_level
from workers.engine.offers import offer_candidates
from workers.engine.plan import plan
from workers.engine.proposals import propose_adapted, propose_adaptive, propose_design, propose_report, propose_verification
from workers.engine.selection import points_to_verify
from workers.engine.stages import FOR_WORKERS, Await, Finish, Keep, Nothing, Propose, Stage, Step
from workers.engine.workshop import Workshop

log = logging.getLogger(__name__)


def advance(workshop: Workshop, study_id: str) -> None:
    """Does what is due for the study: proposes the trials of its next stage, waits, or writes its front.

    A submitted study becomes running. A step that no further trial would mend fails the study with its code and sentence.
    """
    try:
        study = _begin(workshop.store, workshop.store.study(study_id))
        _take(workshop, study, workshop.store.trials(study_id))
    except ConflictError as error:
        log.info("study %s was taken further by somebody else: %s", study_id, error)


def _begin(store: Store, study: Study) -> Study:
    return store.step_study(study.id, StudyStatus.RUNNING) if study.status == StudyStatus.SUBMITTED else study


def _take(workshop: Workshop, study: Study, trials: Sequence[Trial]) -> None:
    try:
        _carry_out(workshop, study, trials, plan(study, trials))
    except STUDY_FAULTS as error:
        end = forgo_front if study.status is StudyStatus.CANCELLED else fail_study
        end(workshop.store, study.id, error, trials)


def _carry_out(workshop: Workshop, study: Study, trials: Sequence[Trial], step: Step) -> None:
    match step:
        case Propose(stage):
            proposals = _proposals(workshop, study, trials, stage)
            pairing = study.pairing or _store_pairing(workshop, study)
            added = workshop.store.propose(study.id, len(trials), proposals, pairing)
            _send(workshop, added)
        case Await(waiting):
            # their wake-ups may have been lost with the process that sent them
            _send(workshop, [trial for trial in trials if trial.id in waiting])
        case Finish() | Keep():
            workshop.store.finish(_front(workshop, study, trials))
        case Nothing():
            log.debug("study %s is %s", study.id, study.status)
        case _:
            assert_never(step)


def _proposals(workshop: Workshop, study: Study, trials: Sequence[Trial], stage: Stage) -> Sequence[Proposal]:
    match stage:
        case Stage.DESIGN:
            evaluator = workshop.evaluator_of(study)
            design = propose_design(study.spec, evaluator.gram.shape[0], trials)
            return design if trials else (*design, *propose_adapted(study.spec, evaluator))
        case Stage.ADAPTIVE:
            evidence = _evidence(workshop, study, trials)
            return propose_adaptive(evidence, fit_tasks(evidence), trials)
        case Stage.LEVEL:
            return propose_level(_evidence(workshop, study, trials), trials)
        case Stage.VERIFY:
            return propose_verification(study.spec, _to_verify(study, trials, _evidence(workshop, study, trials)), trials)
        case Stage.REPORT:
            return propose_report(study.spec, len(trials[0].proposal.coefficients), trials)
        case _:
            assert_never(stage)


def _to_verify(study: Study, trials: Sequence[Trial], evidence: Evidence) -> Tensor:
    if study.spec.method.name == "nested":
        return nested_points(evidence, trials)
    return points_to_verify(evidence, fit_tasks(evidence), trials)


def _front(workshop: Workshop, study: Study, trials: Sequence[Trial]) -> Front:
    evidence = _evidence(workshop, study, trials)
    fits = fit_tasks(evidence)
    # the bytes first: a front must never name what is not there
    candidates = workshop.blobs.put(encode(offer_candidates(evidence, trials, fits)).encode())
    pairing = study.pairing or _store_pairing(workshop, study)
    return replace(assemble_front(study.id, trials, evidence, fits), candidates=candidates, pairing=pairing)


def _store_pairing(workshop: Workshop, study: Study) -> str:
    return workshop.blobs.put(encode(workshop.evaluator_of(study).pairing).encode())


def _evidence(workshop: Workshop, study: Study, trials: Sequence[Trial]) -> Evidence:
    return gather_evidence(study.spec, trials, workshop.evaluator_of(study), workshop.blobs.get)


def _send(workshop: Workshop, trials: Sequence[Trial]) -> None:
    for trial in trials:
        if trial.status in FOR_WORKERS:
            workshop.jobs.send("measure_trial", trial.id)
