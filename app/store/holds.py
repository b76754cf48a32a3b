"""Who needs what: decided purely, for every adapter of the catalog."""

from collections.abc import Iterable

from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import ConflictError, GoneError
from app.domain.finetune import Finetune
from app.domain.study import Study, StudyStatus

Registration = Checkpoint | Dataset
OPEN_STUDIES = (StudyStatus.SUBMITTED, StudyStatus.RUNNING)


def bytes_of(record: Registration) -> frozenset[str]:
    """Digests of the uploaded bytes that it is made of; none where its files lie elsewhere."""
    return frozenset() if record.reference else frozenset(record.files.values())


def freed(record: Registration, others: Iterable[Registration]) -> frozenset[str]:
    """Those of its bytes that none of the others is made of."""
    return bytes_of(record).difference(*map(bytes_of, others))


def check_there(names: frozenset[str], there: Iterable[str]) -> None:
    """Raises GoneError unless everything that is named is there."""
    gone = sorted(names.difference(there))
    if gone:
        raise GoneError(f"{', '.join(gone)}: dropped, and can be named no more: register the files again, and name the new id")


def check_held(record: Registration, held: Iterable[str]) -> None:
    """Raises ConflictError unless all its bytes are held."""
    missing = sorted(bytes_of(record).difference(held))
    if missing:
        raise ConflictError(f"bytes were given up while they were registered: upload them again (sha256 {', '.join(missing)})")


def check_unused(record: Registration, studies: Iterable[Study], finetunes: Iterable[Finetune]) -> None:
    """Raises ConflictError while one of these names it and has not ended."""
    users = [study.spec.name for study in studies if study.status in OPEN_STUDIES and record.id in study.spec.registered]
    users += [finetune.id for finetune in finetunes if finetune.open and record.id in finetune.spec.as_study().registered]
    if users:
        raise ConflictError(f"in use by {', '.join(users[:5])}: cancel it first, or wait for its end")


def check_free(digest: str, registrations: Iterable[Registration]) -> None:
    """Raises ConflictError while one of these is made of the bytes."""
    users = [record.id for record in registrations if digest in bytes_of(record)]
    if users:
        raise ConflictError(f"these bytes belong to {', '.join(users[:5])}: drop what is registered, and they go with it")
