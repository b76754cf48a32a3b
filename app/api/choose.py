"""Choosing a merge by what it should be good at."""

from app.actions.choose import Offer
from app.api.auth import SCOPE, ServiceOf, guarded_router
from app.api.fronts import front_of
from app.api.kept import Kept
from app.api.problems import problem_responses
from app.api.schemas.choice import ChoiceRequest, ChoiceShape, choice_shape
from app.api.service import Service
from app.api.studies import StudyOf
from app.domain.candidates import Candidates
from app.domain.errors import UnmetError
from app.domain.study import Study
from app.store.codec import decode

router = guarded_router("/v1/studies", "fronts")

_offers: Kept[Offer] = Kept(64)


@router.post(
    "/{reference}/choose", responses=problem_responses(400, 404, 413), openapi_extra={SCOPE: "read"}, summary="Choose a merge"
)
def choose_merge(wish: ChoiceRequest, study: StudyOf, service: ServiceOf) -> ChoiceShape:
    """Coefficients with predicted scores and intervals, from the surrogates; nothing is evaluated, and the same wish gets the same."""
    offer = offer_of(service, study)
    bounds = [bound for constraint in wish.constraints for bound in constraint.bounds()]
    return choice_shape(study.id, study.revision, offer.choose(wish.wish(), bounds))


def offer_of(service: Service, study: Study) -> Offer:
    """What can be chosen of a study that has a front. Raises NotFoundError, UnmetError."""
    return _offers.get_or_make((study.id, study.updated), lambda: _read(service, study))


def _read(service: Service, study: Study) -> Offer:
    front = front_of(service, study)
    if not front.candidates:
        raise UnmetError(f"the front of study {study.id} was made by a release that kept nothing to choose from")
    return Offer(decode(Candidates, service.blobs.get(front.candidates).decode()))
