"""Use cases of merges: named by a point of the front, by a choice, or by coefficients; written down; nothing is computed."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from app.actions.choose import Choice
from app.actions.studies import has_ended
from app.domain.columns import provisional_columns
from app.domain.errors import ConflictError, Fault, NotFoundError, NotReadyError, RefusedError
from app.domain.front import Front
from app.domain.ids import new_id
from app.domain.merge import Merge
from app.domain.study import Study
from app.domain.trial import Proposal
from app.store.catalog import Catalog
from app.store.port import Store
from checkpoints.stream import ARITHMETIC

_PAGE = 1000


def merge_at_point(study: Study, front: Front, number: int) -> Merge:
    """The merge at a point of the front. Raises NotFoundError."""
    if not 0 <= number < len(front.points):
        raise NotFoundError(f"no point {number}: the front of study {study.id} has 0 to {len(front.points) - 1}")
    point = front.points[number]
    merge = _merge(study, point.coefficients, front.pairing, f"point {number} of the front")
    return replace(merge, point=number, predicted=point.predicted, search=point.search, report=point.report)


def merge_at_choice(study: Study, front: Front, choice: Choice) -> Merge:
    """The merge that was chosen."""
    return replace(_merge(study, choice.coefficients, front.pairing, "chosen on the surrogates"), predicted=choice.predicted)


def merge_at(study: Study, front: Front | None, names: Sequence[str], coefficients: Sequence[float]) -> Merge:
    """The merge at any coefficients. `names`: of the study's D coefficients; `front`: where there is one.

    Raises RefusedError; NotReadyError while no worker has held the checkpoints against each other.
    """
    if len(coefficients) != len(names):
        problem = f"{len(coefficients)} given, {len(names)} needed: {', '.join(names)}"
        raise RefusedError([Fault("coefficients", problem)])
    if not all(map(math.isfinite, coefficients)):
        raise RefusedError([Fault("coefficients", "every one is a finite number")])
    return _merge(study, tuple(coefficients), _pairing(study, front), "named by its coefficients")


def merge_of_trial(study: Study, proposal: Proposal) -> Merge:
    """What a trial measures, whose transform may be a baseline's."""
    transform = None if proposal.transform == study.spec.transform else proposal.transform
    measured = study if transform is None else replace(study, spec=replace(study.spec, transform=transform))
    return replace(_merge(measured, proposal.coefficients, study.pairing, "measured by a trial"), transform=transform)


def base_of(study: Study, front: Front) -> Merge:
    """The merge into which no tuned checkpoint goes."""
    return _merge(study, (0.0,) * len(front.columns), front.pairing, "the base")


def coefficient_names(store: Store, study: Study) -> tuple[str, ...]:
    """What the coefficients of a study are called, in order. Raises ConflictError where that is not known yet."""
    if study.spec.space.groups == "task":
        return tuple(study.spec.models.tuned)
    with suppress(NotFoundError):  # blocks are named by the weights, which were read for the front
        return store.front(study.id).columns
    trials = store.trials(study.id)
    if not trials:
        raise ConflictError(f"study {study.id} has no trial yet: how many groups its layers make is not known")
    return provisional_columns(study.spec, len(trials[0].proposal.coefficients))


def keep_merge(catalog: Catalog, merge: Merge) -> tuple[Merge, bool]:
    """The merge as it is kept, and whether it is new: the same weights under the same name are kept once."""
    for known in catalog.with_digest(Merge, merge.tenant, merge.digest):
        if (known.study_id, known.point, known.how) == (merge.study_id, merge.point, merge.how):
            return known, False
    catalog.add(merge)
    return merge, True


def merges_of(catalog: Catalog, study: Study, after: str, limit: int) -> tuple[Merge, ...]:
    """Those of a study in order of id, at most `limit` of those after `after`."""
    found: list[Merge] = []
    for merge in _all_merges(catalog, study.tenant, after):
        if merge.study_id == study.id:
            found.append(merge)
            if len(found) == limit:
                break
    return tuple(found)


def _all_merges(catalog: Catalog, tenant: str, after: str) -> Iterator[Merge]:
    while page := catalog.page(Merge, tenant, after, _PAGE):
        yield from page
        after = page[-1].id


def _pairing(study: Study, front: Front | None) -> str:
    if study.pairing:
        return study.pairing
    if front is not None:
        return front.pairing
    if has_ended(study):
        raise ConflictError(f"study {study.id} was {study.status} before anybody held its checkpoints against each other: it has no merges")
    raise NotReadyError(f"study {study.id} has not begun: which tensors of its checkpoints pair is known with its first trials")


def _merge(study: Study, coefficients: tuple[float, ...], pairing: str, how: str) -> Merge:
    digest = _digest(study, coefficients, pairing)
    return Merge(new_id("merge"), study.tenant, study.id, coefficients, digest, datetime.now(UTC), how=how, pairing=pairing)


def _digest(study: Study, coefficients: Sequence[float], pairing: str) -> str:
    """Of everything that the bytes of a merge follow from; two merges share it only if all their bytes are the same."""
    spec = study.spec
    parts = [ARITHMETIC, pairing, repr(spec.transform), repr(spec.space.groups), study.digests["models.base"]]
    parts += [f"{name} {study.digests[f'models.tuned.{name}']}" for name in spec.models.tuned]
    parts += [value.hex() for value in coefficients]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
