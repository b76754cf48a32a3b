"""The reading part of the Hugging Face hub's API over merges: its clients work as they are, with HF_ENDPOINT=<server>/hub.

A study is an organisation, and its models are `point-7` (of the front), `merge_...` (asked for), and `base`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response

from app.actions.merge_files import VirtualFile
from app.actions.merges import base_of, merge_at_point
from app.actions.studies import find_study
from app.api.auth import CallerOf, ServiceOf, guarded_router
from app.api.file_answers import FILE_RESPONSES, answer_file
from app.api.fronts import front_of
from app.api.ingredients import file_named, files_of
from app.api.problems import ProblemError, problem_responses
from app.api.schemas.hub import HubEntry, HubFile, HubModel
from app.api.service import Service
from app.api.studies import Reference
from app.domain.errors import NotFoundError
from app.domain.merge import Merge
from app.domain.study import Study

router = guarded_router("/hub", "hub")

MAIN = "main"
_POINT = re.compile(r"point-(\d{1,9})")
_MISSING = problem_responses(404, 409, 410)

ModelName = Annotated[str, Path(description="`point-N` of the front, a merge's id, or `base`.", max_length=64, examples=["point-1"])]
Revision = Annotated[str, Path(description="`main`, or the commit that `main` stands for.", max_length=64, examples=[MAIN])]
Folder = Annotated[str, Path(description="A folder of the model.", max_length=1024, examples=["1_Pooling"])]
FileName = Annotated[str, Path(description="Path within the model.", max_length=1024, examples=["config.json"])]


@dataclass(frozen=True)
class Repository:
    """A model as the hub's clients see it. `commit`: a digest of all its files, 40 digits."""

    name: str
    commit: str
    files: Mapping[str, VirtualFile]


def repository_named(reference: Reference, model: ModelName, service: ServiceOf, caller: CallerOf) -> Repository:
    """Raises ProblemError 404 in the hub's words."""
    try:
        study = find_study(service.store, caller.tenant, reference)
        merge = _merge_named(service, study, model)
    except NotFoundError as error:
        raise _missing("RepoNotFound", str(error)) from error
    files = files_of(service, study, merge, whole=model == "base")
    lines = "".join(f"{file.tag}  {name}\n" for name, file in sorted(files.items()))
    return Repository(f"{reference}/{model}", hashlib.sha256(lines.encode()).hexdigest()[:40], files)


RepositoryOf = Annotated[Repository, Depends(repository_named)]


@router.get("/api/models/{reference}/{model}", responses=_MISSING, summary="Look at a model")
def get_model(repository: RepositoryOf) -> HubModel:
    siblings = [HubFile(rfilename=name) for name in sorted(repository.files)]
    return HubModel(id=repository.name, modelId=repository.name, sha=repository.commit, siblings=siblings, tags=["merge", "mergefront"])


@router.get("/api/models/{reference}/{model}/revision/{revision}", responses=_MISSING, summary="Look at a model's revision")
def get_revision(repository: RepositoryOf, revision: Revision) -> HubModel:
    _check_revision(repository, revision)
    return get_model(repository)


@router.get("/api/models/{reference}/{model}/tree/{revision}", responses=_MISSING, summary="List a model's files")
def list_tree(
    repository: RepositoryOf, revision: Revision,
    recursive: Annotated[bool, Query(description="Files of folders too.", examples=[True])] = False,
) -> list[HubEntry]:  # fmt: skip
    _check_revision(repository, revision)
    return _entries(repository, "", recursive)


@router.get("/api/models/{reference}/{model}/tree/{revision}/{folder:path}", responses=_MISSING, summary="List a model's folder")
def list_folder(
    repository: RepositoryOf, revision: Revision, folder: Folder,
    recursive: Annotated[bool, Query(description="Files of folders too.", examples=[True])] = False,
) -> list[HubEntry]:  # fmt: skip
    _check_revision(repository, revision)
    found = _entries(repository, f"{folder.strip('/')}/", recursive)
    if not found:
        raise _missing("EntryNotFound", f"{repository.name} has no folder {folder!r}", repository)
    return found


@router.get(
    "/{reference}/{model}/resolve/{revision}/{name:path}", response_class=Response, summary="Read a model's file",
    responses=FILE_RESPONSES | _MISSING | problem_responses(416),
)
async def resolve(request: Request, repository: RepositoryOf, revision: Revision, name: FileName) -> Response:
    _check_revision(repository, revision)
    told = {"X-Repo-Commit": repository.commit}
    return await answer_file(request, file_named(repository.files, name, told | {"X-Error-Code": "EntryNotFound"}), told)


@router.head(
    "/{reference}/{model}/resolve/{revision}/{name:path}", response_class=Response, summary="Size and tag of a model's file",
    responses=FILE_RESPONSES | _MISSING,
)
async def resolve_head(request: Request, repository: RepositoryOf, revision: Revision, name: FileName) -> Response:
    return await resolve(request, repository, revision, name)


def _merge_named(service: Service, study: Study, model: str) -> Merge:
    point = _POINT.fullmatch(model)
    if point is None and model != "base":
        merge = service.catalog.one(Merge, study.tenant, model)
        if merge.study_id != study.id:
            raise NotFoundError(f"{model} is a merge of another study")
        return merge
    front = front_of(service, study)
    return merge_at_point(study, front, int(point[1])) if point else base_of(study, front)


def _entries(repository: Repository, prefix: str, recursive: bool) -> list[HubEntry]:
    inside = {name: file for name, file in sorted(repository.files.items()) if name.startswith(prefix)}
    files = [_entry(name, file) for name, file in inside.items() if recursive or "/" not in name.removeprefix(prefix)]
    folders = sorted({prefix + name.removeprefix(prefix).partition("/")[0] for name in inside if "/" in name.removeprefix(prefix)})
    return [HubEntry(type="directory", path=path, size=0, oid=_oid(path)) for path in folders] + files


def _entry(name: str, file: VirtualFile) -> HubEntry:
    return HubEntry(type="file", path=name, size=file.size, oid=file.tag[:40])


def _oid(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:40]


def _check_revision(repository: Repository, revision: str) -> None:
    if revision not in (MAIN, repository.commit):
        known = f"{MAIN}, which is {repository.commit}"
        raise _missing("RevisionNotFound", f"{repository.name} has no revision {revision!r}, only {known}", repository)


def _missing(code: str, detail: str, repository: Repository | None = None) -> ProblemError:
    commit = {"X-Repo-Commit": repository.commit} if repository else {}
    # by this header the hub's clients tell what is missing
    return ProblemError(404, detail, headers=commit | {"X-Error-Code": code})
