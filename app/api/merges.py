"""Merges: asked for, listed, and read as files whose bytes are computed on the way."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.actions.merges import coefficient_names, keep_merge, merge_at, merge_at_choice, merge_at_point, merges_of
from app.actions.studies import find_study
from app.api.auth import Caller, CallerOf, ServiceOf, guarded_router
from app.api.choose import offer_of
from app.api.computing import computing_of
from app.api.file_answers import FILE_RESPONSES, answer_file
from app.api.fronts import front_of
from app.api.ingredients import file_named, files_of
from app.api.paging import Cursor, Limit, after, cursor_of
from app.api.problems import problem_responses
from app.api.schemas.merge import MERGE_ID, FileList, FileShape, MergePage, MergeRequest, MergeShape, merge_shape
from app.api.service import Service
from app.api.studies import StudyOf
from app.domain.errors import NotFoundError
from app.domain.front import Front
from app.domain.merge import Merge
from app.domain.study import Study

router = guarded_router("/v1", "merges")

_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"description": "It was asked for before.", "model": MergeShape},
    201: {"description": "`Location` names the merge.", "model": MergeShape},
}
_WEIGHTS = problem_responses(404, 409, 410)

MergeId = Annotated[str, Path(description="The merge's id.", max_length=64, examples=[MERGE_ID])]
FileName = Annotated[str, Path(description="Path within the merge.", max_length=1024, examples=["model.safetensors"])]
Digest = Annotated[
    Literal["sha256"] | None,
    Query(description="Also the digest of every file, for which all its bytes are computed once.", examples=["sha256"]),
]


def merge_named(merge_id: MergeId, service: ServiceOf, caller: CallerOf) -> Merge:
    """The merge that a path names. Raises NotFoundError, also for another tenant's."""
    return service.catalog.one(Merge, caller.tenant, merge_id)


MergeOf = Annotated[Merge, Depends(merge_named)]


@router.post(
    "/studies/{reference}/merges", status_code=201, responses=_CREATED | problem_responses(400, 404, 409, 413), summary="Ask for a merge"
)
def create_merge(wish: MergeRequest, study: StudyOf, service: ServiceOf, response: Response) -> MergeShape:
    """By a point of the front, by coefficients, or by a choice. Nothing is computed until its files are read."""
    merge, is_new = keep_merge(service.catalog, _wished(service, study, wish))
    response.headers["Location"] = f"/v1/merges/{merge.id}"
    response.status_code = 201 if is_new else 200
    return merge_shape(merge)


@router.get("/studies/{reference}/merges", responses=problem_responses(404), summary="List merges")
def list_merges(study: StudyOf, service: ServiceOf, cursor: Cursor = None, limit: Limit = 100) -> MergePage:
    """Oldest first."""
    found = merges_of(service.catalog, study, after(cursor), limit + 1)
    page = found[:limit]
    return MergePage(items=[merge_shape(merge) for merge in page], next=cursor_of(page[-1].id) if len(found) > limit else None)


@router.get("/merges/{merge_id}", responses=problem_responses(404), summary="Look at a merge")
def get_merge(merge: MergeOf) -> MergeShape:
    return merge_shape(merge)


@router.delete("/merges/{merge_id}", status_code=204, responses=problem_responses(404, 409), summary="Forget a merge")
def delete_merge(merge: MergeOf, service: ServiceOf) -> None:
    """Its study and its weights stay what they are; it can be asked for again."""
    service.catalog.remove(merge)


@router.get("/merges/{merge_id}/files", responses=_WEIGHTS, summary="List the files of a merge")
async def list_files(request: Request, merge: MergeOf, service: ServiceOf, caller: CallerOf, digest: Digest = None) -> FileList:
    """Weights as the base has them, in shards where it has shards, or an adapter; configuration, tokenizer, and a model card."""
    files = await run_in_threadpool(lambda: files_of(service, _study_of(service, caller, merge), merge))
    sizes = await run_in_threadpool(lambda: {name: (file.size, file.tag) for name, file in files.items()})
    digests = {name: (await computing_of(request).digest(file)).hex() for name, file in files.items()} if digest else {}
    place = f"/v1/merges/{merge.id}/files"
    items = [
        FileShape(name=name, size=size, etag=tag, sha256=digests.get(name), href=f"{place}/{name}") for name, (size, tag) in sizes.items()
    ]
    return FileList(items=items, size=sum(size for size, _ in sizes.values()))


@router.get(
    "/merges/{merge_id}/files/{name:path}", response_class=Response, responses=FILE_RESPONSES | _WEIGHTS | problem_responses(416),
    summary="Read a file of a merge",
)
async def read_file(request: Request, name: FileName, merge: MergeOf, service: ServiceOf, caller: CallerOf) -> Response:
    """Computed while it is read; two readings give the same bytes. Range computes only the tensors that it touches.

    `Want-Repr-Digest: sha-256=1` is answered with `Repr-Digest`, for which the whole file is computed once.
    """
    files = await run_in_threadpool(lambda: files_of(service, _study_of(service, caller, merge), merge))
    return await answer_file(request, file_named(files, name))


@router.head(
    "/merges/{merge_id}/files/{name:path}", response_class=Response, responses=FILE_RESPONSES | _WEIGHTS,
    summary="Size and tag of a file of a merge",
)
async def head_file(request: Request, name: FileName, merge: MergeOf, service: ServiceOf, caller: CallerOf) -> Response:
    return await read_file(request, name, merge, service, caller)


def _wished(service: Service, study: Study, wish: MergeRequest) -> Merge:
    if wish.coefficients is not None:
        return merge_at(study, _front_if_any(service, study), coefficient_names(service.store, study), wish.coefficients)
    front = front_of(service, study)
    if wish.point is not None:
        return merge_at_point(study, front, wish.point)
    bounds = [bound for constraint in wish.constraints for bound in constraint.bounds()]
    return merge_at_choice(study, front, offer_of(service, study).choose(wish.wish(), bounds))


def _front_if_any(service: Service, study: Study) -> Front | None:
    try:
        return service.store.front(study.id)
    except NotFoundError:
        return None


def _study_of(service: Service, caller: Caller, merge: Merge) -> Study:
    return find_study(service.store, caller.tenant, merge.study_id)
