"""What a manifest names, as it travels: the files of each checkpoint and each dataset, with their digests."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.domain.errors import Fault, RefusedError
from app.domain.study import FactoryArchitecture, StudySpec
from checkpoints.digest import digest_file
from checkpoints.errors import CheckpointError
from checkpoints.layout import open_layout

Kind = Literal["checkpoints", "datasets"]

_REGISTERED = ("ckpt_", "ds_")


@dataclass(frozen=True)
class Parcel:
    """Files that are registered together. `key`: the first that names them in the manifest; `files`: where they lie, by path within."""

    key: str
    kind: Kind
    files: Mapping[str, Path]
    digests: Mapping[str, str]

    @property
    def content(self) -> tuple[Kind, tuple[tuple[str, str], ...]]:
        """Equal for equal content."""
        return self.kind, tuple(sorted(self.digests.items()))


def pack(spec: StudySpec) -> dict[str, Parcel]:
    """By the key that names it, everything of a spec that lies on this machine. Raises RefusedError with every fault."""
    parcels: dict[str, Parcel] = {}
    faults: list[Fault] = []
    for key, kind, place in _inputs(spec):
        try:
            parcels[key] = _parcel(key, kind, Path(place))
        except CheckpointError as error:
            faults += [Fault(key, fault) for fault in error.faults]
        except OSError as error:
            faults.append(Fault(key, f"{place} cannot be read: {error.strerror}"))
    if faults:
        raise RefusedError(faults)
    return parcels


def address(document: Mapping[str, Any], spec: StudySpec, ids: Mapping[str, str]) -> dict[str, Any]:
    """The manifest, read as `spec`, with ids in place of paths, `ids` by key, and a relative factory as it lies beside the manifest."""
    addressed: dict[str, Any] = copy.deepcopy(dict(document))
    found = spec.architecture
    # an absolute one is the server's, where links may lead elsewhere than here
    if isinstance(found, FactoryArchitecture) and not Path(addressed["architecture"]["factory"]).is_absolute():
        addressed["architecture"]["factory"] = f"{found.file}:{found.callable}"
    for key, registered in ids.items():
        *folders, last = _path(key)
        place = addressed
        for folder in folders:
            place = place[folder]
        mark, name = str(place[last]).partition("#")[1:]
        place[last] = registered + mark + name if last == "head" else registered
    return addressed


def _path(key: str) -> list[str]:
    # names may hold dots: only the first and the last ones part them
    kind, _, rest = key.partition(".")
    if kind == "tasks":
        name, _, last = rest.rpartition(".")
        return [kind, name, last]
    part, _, name = rest.partition(".")
    return [kind, part, name] if name else [kind, part]


def _inputs(spec: StudySpec) -> Iterator[tuple[str, Kind, str]]:
    named: list[tuple[str, Kind, str]] = [("models.base", "checkpoints", spec.models.base)]
    named += [(f"models.tuned.{name}", "checkpoints", path) for name, path in spec.models.tuned.items()]
    for task in spec.tasks_here:
        named.append((f"tasks.{task.name}.data", "datasets", task.data))
        if task.head is not None:
            named.append((f"tasks.{task.name}.head", "datasets", task.head.partition("#")[0]))
    yield from (one for one in named if not one[2].startswith(_REGISTERED))


def _parcel(key: str, kind: Kind, path: Path) -> Parcel:
    files = _checkpoint_files(path) if kind == "checkpoints" else {path.name: path}
    return Parcel(key, kind, files, {name: digest_file(file) for name, file in files.items()})


def _checkpoint_files(path: Path) -> dict[str, Path]:
    layout = open_layout(path)
    if not path.is_dir():
        return {path.name: path}
    paths = [*(file.path for file in layout.files), *([layout.index] if layout.index else []), *map(path.joinpath, layout.side_files)]
    return {str(file.relative_to(path)): file for file in paths}
