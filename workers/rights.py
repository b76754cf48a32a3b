"""The rights that processes work under, as the rows have them: the lease of a trial, the claim of a fine-tuning."""

from contextlib import suppress
from datetime import UTC, datetime

from app.domain.errors import ConflictError, NotFoundError, StaleLeaseError
from app.domain.finetune import Claim, Finetune
from app.domain.trial import Lease
from app.store.catalog import Catalog
from app.store.port import Store

Right = Lease | Claim

_TRIES = 5  # a heartbeat of the process that was ended may still have been on its way


def name_of(right: Right) -> str:
    """The id of what is worked on."""
    return right.trial_id if isinstance(right, Lease) else right.finetune_id


class Rights:
    """What the rows say of a right. Raises UnavailableError where they are out of reach."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def until(self, right: Right) -> float | None:
        """Until when it lasts, run out or not, in seconds since the epoch; None once it is gone: cancelled, ended, another's."""
        if isinstance(right, Lease):
            current = self._store.lease(right.trial_id)
            return None if current is None or current.token != right.token else current.until
        row = self._row(right)
        return None if row is None else row.until

    def give_back(self, right: Right) -> bool:
        """What was worked on waits again and the attempt does not count. False where the right was gone already."""
        if isinstance(right, Claim):
            return self._give_back_claim(right)
        try:
            self._store.release(right)
        except (StaleLeaseError, NotFoundError):
            return False
        return True

    def _give_back_claim(self, claim: Claim) -> bool:
        for _ in range(_TRIES):
            row = self._row(claim)
            if row is None or row.until is None:
                return False
            with suppress(ConflictError, NotFoundError):
                self._catalog.replace(row, row.handed_back(datetime.now(UTC), further=False))
                return True
        return False

    def _row(self, claim: Claim) -> Finetune | None:
        """The fine-tuning, while the claim is its latest."""
        try:
            row = self._catalog.one(Finetune, claim.tenant, claim.finetune_id)
        except NotFoundError:
            return None
        return row if row.open and row.token == claim.token else None
