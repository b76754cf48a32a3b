"""External evaluators: whoever scores merges outside the service asks for trials here, and tells their scores."""

import asyncio
import time
from typing import Annotated

from fastapi import Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.actions.external import AskedTrial, ask_trials, find_errand, prolong, tell_failure, tell_scores
from app.actions.merges import keep_merge, merge_of_trial
from app.actions.studies import has_ended
from app.api.auth import CallerOf, ServiceOf, guarded_router
from app.api.problems import problem_responses
from app.api.schemas.external import TRIAL_ID, AskedTrials, Heartbeat, LeaseShape, Result, asked_trials, lease_shape
from app.api.schemas.trial import TrialShape, trial_shape
from app.api.service import Service
from app.api.studies import StudyOf
from app.api.waiting import applied, wanted_seconds
from app.domain.merge import Merge
from app.domain.study import Study

router = guarded_router("/v1", "external evaluators")

_POLL_SECONDS = 0.5

Count = Annotated[int, Query(ge=1, le=1000, description="How many trials at most.", examples=[1])]
LeaseSeconds = Annotated[
    float | None, Query(ge=1, le=86_400, description="How long they are the caller's; the service's own where not given.", examples=[600])
]
By = Annotated[str, Query(max_length=64, description="What the evaluator is called in messages.", examples=["gpu-7"])]
Prefer = Annotated[
    str | None,
    Header(description="`wait=N`: answer when there is a trial, after N seconds at the latest (60 at most).", examples=["wait=30"]),
]
TrialId = Annotated[str, Path(description="The trial's id.", max_length=64, examples=[TRIAL_ID])]


@router.post("/studies/{reference}/trials:ask", responses=problem_responses(404), summary="Ask for trials")
async def ask_for_trials(
    request: Request, study: StudyOf, service: ServiceOf, response: Response,
    n: Count = 1, lease: LeaseSeconds = None, by: By = "an external evaluator", prefer: Prefer = None,
) -> AskedTrials:  # fmt: skip
    """Each is the caller's alone until its lease runs out; then others may have it, 3 times in all. Workers measure their half first."""
    wait = wanted_seconds(prefer)
    deadline = time.monotonic() + wait
    while True:
        asked = await run_in_threadpool(_ask, service, study, by, n, lease or service.settings.lease_seconds)
        study = await run_in_threadpool(service.store.study, study.id)
        # nobody must get trials who is gone
        if asked or has_ended(study) or time.monotonic() >= deadline or await request.is_disconnected():
            response.headers.update(applied(wait))
            return asked_trials(study, asked)
        await asyncio.sleep(_POLL_SECONDS)


@router.post("/trials/{trial_id}/heartbeat", responses=problem_responses(400, 404, 409, 413), summary="Keep a trial")
def keep_trial(beat: Heartbeat, trial_id: TrialId, service: ServiceOf, caller: CallerOf) -> LeaseShape:
    """Some three times in every lease. 409 `stale_lease`: it went to somebody else, or its study has ended; drop the work."""
    errand = find_errand(service.store, caller.tenant, trial_id, beat.token)
    return lease_shape(prolong(service.store, errand, beat.lease or service.settings.lease_seconds, time.time()))


@router.post("/trials/{trial_id}/result", responses=problem_responses(400, 404, 409, 413), summary="Tell a trial's scores")
def tell_result(result: Result, trial_id: TrialId, service: ServiceOf, caller: CallerOf) -> TrialShape:
    """The first result wins; sent twice, it is answered alike. 409 `stale_lease`: it went to somebody else, or its study has ended."""
    errand = find_errand(service.store, caller.tenant, trial_id, result.token)
    if result.scores is not None:
        return trial_shape(tell_scores(service.store, service.jobs, errand, result.scores, result.seconds))
    return trial_shape(tell_failure(service.store, service.jobs, errand, result.failure or ""))


def _ask(service: Service, study: Study, owner: str, count: int, seconds: float) -> list[tuple[AskedTrial, Merge]]:
    asked = ask_trials(service.store, service.jobs, study, owner, count, seconds, time.time())
    merges = [keep_merge(service.catalog, merge_of_trial(study, one.trial.proposal))[0] for one in asked]
    return list(zip(asked, merges, strict=True))
