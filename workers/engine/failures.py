"""How a study fails: with the code and the sentence of the error that no further trial would mend."""

import logging
from collections.abc import Sequence

from app.domain.errors import ConflictError, MeasurementError, NotFoundError, RefusedError, UnmetError
from app.domain.study import Failure, StudyStatus
from app.domain.trial import Trial, TrialStatus
from app.store.port import Store
from checkpoints.errors import CheckpointError
from surrogate.errors import SurrogateError

StudyFault = RefusedError | NotFoundError | UnmetError | MeasurementError | CheckpointError | SurrogateError
STUDY_FAULTS = (RefusedError, NotFoundError, UnmetError, MeasurementError, CheckpointError, SurrogateError)

log = logging.getLogger(__name__)


def fail_study(store: Store, study_id: str, error: StudyFault, trials: Sequence[Trial] = ()) -> None:
    """Ends the study with what went wrong, and how many of `trials` are missing; a study that has ended keeps its end."""
    failure = Failure(error.code, f"{error}{_losses(trials)}")
    log.error("study %s failed: %s", study_id, failure.message)
    try:
        store.step_study(study_id, StudyStatus.FAILED, failure)
    except ConflictError as conflict:
        log.info("study %s: %s", study_id, conflict)


def forgo_front(store: Store, study_id: str, error: StudyFault, trials: Sequence[Trial] = ()) -> None:
    """Notes why a cancelled study has no front: what was measured of it was too little."""
    failure = Failure(error.code, f"cancelled before there was a front: {error}{_losses(trials)}")
    log.info("study %s: %s", study_id, failure.message)
    try:
        store.forgo_front(study_id, failure)
    except ConflictError as conflict:
        log.info("study %s: %s", study_id, conflict)


def _losses(trials: Sequence[Trial]) -> str:
    reasons = [trial.failure.message for trial in trials if trial.status == TrialStatus.FAILED and trial.failure]
    return f" ({len(reasons)} of {len(trials)} trials failed, the first: {reasons[0]})" if reasons else ""
