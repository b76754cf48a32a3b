"""The port of what a service keeps beside studies: API keys, uploads, checkpoints, datasets, merges, fine-tunings, keyed requests."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.finetune import Finetune
from app.domain.key import Key
from app.domain.merge import Merge
from app.domain.request import KeyedRequest
from app.domain.upload import Holding, Upload

Record = Upload | Checkpoint | Dataset | Merge | Finetune
R = TypeVar("R", bound=Record)


class Catalog(Protocol):
    """Every method is one transaction; what it returns is what is now true. A record of another tenant is not there.

    RefusedError for values that JSON cannot hold, UnavailableError when the database cannot be reached.
    """

    def add(self, record: Record) -> None:
        """Raises ConflictError when the id exists; for a fine-tuning GoneError, as `Store.add_study`."""

    def register(self, record: Checkpoint | Dataset) -> None:
        """As `add`, in one with the look at what it is made of: raises ConflictError also where the tenant no longer holds its bytes."""

    def unregister(self, record: Checkpoint | Dataset) -> None:
        """As `remove`; of its bytes the tenant goes on to hold only those that something else it registered is made of.

        Raises ConflictError also while a study or a fine-tuning that has not ended names it.
        """

    def one(self, kind: type[R], tenant: str, record_id: str) -> R:
        """Raises NotFoundError."""

    def page(self, kind: type[R], tenant: str, after: str = "", limit: int = 100) -> tuple[R, ...]:
        """In order of id, those after `after`."""

    def with_digest(self, kind: type[R], tenant: str, digest: str) -> tuple[R, ...]:
        """Those with this digest, in order of id."""

    def every(self, kind: type[R]) -> tuple[R, ...]:
        """Those of all tenants, in order of id: for what does their work, never for what answers them."""

    def replace(self, old: Record, new: Record) -> None:
        """Compare-and-set: raises ConflictError when what is kept is no longer equal to `old`, NotFoundError when it is gone."""

    def remove(self, record: Record) -> None:
        """As `replace`, but nothing takes its place."""

    def hold(self, tenant: str, holding: Holding) -> None:
        """Notes that the tenant gave these bytes; once is enough. From now on they stay."""

    def holdings(self, tenant: str, digests: Sequence[str]) -> tuple[Holding, ...]:
        """Which of these bytes the tenant gave."""

    def let_go(self, tenant: str, digest: str) -> None:
        """The tenant holds these bytes no more. Raises NotFoundError where it does not, ConflictError while something registered is made of
        them.
        """

    def unheld(self, before: datetime, limit: int = 100) -> tuple[str, ...]:
        """Digests of bytes whose last holder, or upload, went before then, longest ago first."""

    def discard(self, digest: str, before: datetime, delete: Callable[[str], None]) -> bool:
        """Has `delete` carried out on bytes that are unheld since before then; whether they were. Whoever announces or holds these bytes
        meanwhile waits, and then finds them gone.
        """

    def held_bytes(self, tenant: str) -> int:
        """The size of all that the tenant holds, and of all that its uploads announce."""

    def add_key(self, key: Key) -> None:
        """Raises ConflictError when the id or the digest exists."""

    def key(self, digest: str) -> Key:
        """The key with this digest of its secret. Raises NotFoundError."""

    def keys(self) -> tuple[Key, ...]:
        """In order of id."""

    def remove_key(self, key_id: str) -> None:
        """Raises NotFoundError."""

    def begin_request(self, request: KeyedRequest, stale: datetime) -> KeyedRequest:
        """What is now kept under the request's tenant and key: the request itself where there was nothing.

        An unanswered one that was begun before `stale` is taken over, since whoever carried it out has died: it is kept as it was,
        with the `begun` of `request`. Where `begun` differs, somebody else has it.
        """

    def answer_request(self, request: KeyedRequest) -> None:
        """Keeps the answer. Raises ConflictError when the request was taken over meanwhile."""

    def forget_request(self, request: KeyedRequest) -> None:
        """The request led to nothing: it may be begun again."""

    def close(self) -> None:
        """Gives connections back; the catalog is not used afterwards."""
