"""The files of merges, over model sets that stay open between requests."""

from collections.abc import Mapping
from dataclasses import replace

from app.actions.localise import local_spec
from app.actions.merge_files import Ingredients, VirtualFile, merge_files, open_ingredients
from app.actions.weights import check_unchanged
from app.api.kept import Kept
from app.api.problems import ProblemError
from app.api.service import Service
from app.domain.ids import is_registered
from app.domain.merge import Merge
from app.domain.study import ModelSetSpec, Study
from app.store.codec import decode
from checkpoints.pairing import Pairing

_open: Kept[Ingredients] = Kept(16)


def files_of(service: Service, study: Study, merge: Merge, whole: bool = False) -> Mapping[str, VirtualFile]:
    """The files of a merge by name. Raises GoneError and ConflictError where its checkpoints are gone or changed; CheckpointError."""
    study = merge.study(study)
    local = _local(service, study)
    key = study.id, merge.pairing, study.spec.transform, repr(local)
    found = _open.get_or_make(key, lambda: _ingredients(service, study, local, merge.pairing))
    named = {key: digest for key, digest in study.digests.items() if not is_registered(_place(study, key))}
    check_unchanged(found.models, named, study.created)
    return merge_files(found, study, merge, whole)


def file_named(files: Mapping[str, VirtualFile], name: str, headers: Mapping[str, str] | None = None) -> VirtualFile:
    """Raises ProblemError 404."""
    if name not in files:
        raise ProblemError(404, f"no file {name!r}: there are {', '.join(sorted(files))}", headers=headers)
    return files[name]


def _ingredients(service: Service, study: Study, local: ModelSetSpec, pairing: str) -> Ingredients:
    known = decode(Pairing, service.results.get(pairing).decode()) if pairing else Pairing()
    return open_ingredients(study, local, known)


def _local(service: Service, study: Study) -> ModelSetSpec:
    # of the data nothing is needed, and it may be gone
    alone = replace(study, spec=replace(study.spec, tasks=()))
    return local_spec(service.catalog, service.source, alone).models


def _place(study: Study, key: str) -> str:
    models = study.spec.models
    return models.base if key == "models.base" else models.tuned.get(key.removeprefix("models.tuned."), "")
