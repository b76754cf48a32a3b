"""Choosing a merge by what it should be good at."""

from datetime import datetime

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from app.actions.choose import Offer
from app.api.auth import SCOPE, guarded_router
from app.api.fronts import front_of
from app.api.kept import Kept
from app.api.problems import problem_responses
from app.api.schemas.choice import ChoiceRequest, ChoiceShape, choice_shape
from app.api.service import Service, service_of
from app.api.studies import Reference, study_named
from app.domain.candidates import Candidates
from app.domain.errors import UnmetError
from app.domain.study import Study
from app.store.codec import decode

router = guarded_router("/v1/studies", "fronts")

_offers: Kept[Offer] = Kept(64)


@router.post(
    "/{reference}/choose", response_model=ChoiceShape, responses=problem_responses(400, 404, 413), openapi_extra={SCOPE: "read"},
    summary="Choose a merge",
)
async def choose_merge(request: Request, reference: Reference, wish: ChoiceRequest) -> Response:
    """Coefficients with predicted scores and intervals, from the surrogates; nothing is evaluated, and the same wish gets the same."""
    study = await study_named(request, reference)
    # a change of thread costs more than a choice: only what is read for the first time goes to one
    offer = _offers.get(_key(study))
    if offer is None:
        offer = await run_in_threadpool(offer_of, service_of(request), study)
    bounds = [bound for constraint in wish.constraints for bound in constraint.bounds()]
    chosen = choice_shape(study.id, study.revision, offer.choose(wish.wish(), bounds))
    return Response(chosen.model_dump_json(), media_type="application/json")


def offer_of(service: Service, study: Study) -> Offer:
    """What can be chosen of a study that has a front. Raises NotFoundError, UnmetError."""
    return _offers.get_or_make(_key(study), lambda: _read(service, study))


def _key(study: Study) -> tuple[str, datetime]:
    return study.id, study.updated


def _read(service: Service, study: Study) -> Offer:
    front = front_of(service, study)
    if not front.candidates:
        raise UnmetError(f"the front of study {study.id} was made by a release that kept nothing to choose from")
    return Offer(decode(Candidates, service.results.get(front.candidates).decode()))
