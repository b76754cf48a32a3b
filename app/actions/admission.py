"""What a service lets a study name: what the tenant registered, and what the operator allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import Fault, NotFoundError
from app.domain.ids import is_registered
from app.domain.study import FactoryArchitecture, StudySpec
from app.store.catalog import Catalog
from checkpoints.digest import digest_file, digest_layout
from checkpoints.errors import CheckpointError, MisfitError
from checkpoints.layout import open_layout


@dataclass(frozen=True)
class Allowance:
    """What the operator allows: `factories` as FILE.py:CALLABLE, and files below `directories`; both absolute, links resolved."""

    factories: frozenset[str]
    directories: tuple[Path, ...]


def admit(catalog: Catalog, tenant: str, spec: StudySpec, allowance: Allowance) -> tuple[dict[str, str], list[Fault]]:
    """The sha256 of every input by the key that names it, and what is wrong with those that the study may not name."""
    digests: dict[str, str] = {}
    faults = _factory_faults(spec, allowance)
    for key, place, kind in _inputs(spec):
        try:
            digests[key] = _digest(catalog, tenant, place, kind, allowance)
            if key == "models.base":
                _check_base(catalog, tenant, place)
        except (NotFoundError, PermissionError, CheckpointError) as error:
            faults.append(Fault(key, str(error)))
        except OSError as error:
            faults.append(Fault(key, f"{place} cannot be read: {error.strerror}"))
    if isinstance(spec.architecture, FactoryArchitecture) and not faults:
        digests["architecture.factory"] = digest_file(Path(spec.architecture.file))
    return digests, faults


def allowance_of(factories: Sequence[str], directories: Sequence[Path]) -> Allowance:
    """The allowance that an operator's settings state."""
    split = [factory.rpartition(":") for factory in factories]
    return Allowance(frozenset(f"{Path(file).resolve()}:{name}" for file, _, name in split), tuple(directories))


def _inputs(spec: StudySpec) -> Iterator[tuple[str, str, type[Checkpoint] | type[Dataset]]]:
    yield "models.base", spec.models.base, Checkpoint
    yield from ((f"models.tuned.{name}", place, Checkpoint) for name, place in spec.models.tuned.items())
    for task in spec.tasks_here:
        yield f"tasks.{task.name}.data", task.data, Dataset
        if task.head is not None:
            place = task.head.partition("#")[0]
            yield f"tasks.{task.name}.head", place, Checkpoint if place.startswith("ckpt_") else Dataset


def _digest(catalog: Catalog, tenant: str, place: str, kind: type[Checkpoint] | type[Dataset], allowance: Allowance) -> str:
    if is_registered(place):
        return catalog.one(kind, tenant, place).digest
    path = Path(place)
    if not any(path.resolve().is_relative_to(directory) for directory in allowance.directories):
        raise PermissionError("the operator allows no files there: register them, or name a file of an allowed directory")
    return digest_layout(open_layout(path)) if kind is Checkpoint else digest_file(path)


def _check_base(catalog: Catalog, tenant: str, place: str) -> None:
    kind = catalog.one(Checkpoint, tenant, place).kind if is_registered(place) else "full"
    if kind != "full":
        raise MisfitError(f"{place} is an adapter ({kind}): name the weights that it was trained on")


def _factory_faults(spec: StudySpec, allowance: Allowance) -> list[Fault]:
    found = spec.architecture
    if not isinstance(found, FactoryArchitecture):
        return []
    factory = f"{Path(found.file).resolve()}:{found.callable}"
    if factory in allowance.factories:
        return []
    problem = (
        f"a factory is code that runs on the server, and its operator has not allowed {factory} (MERGEFRONT_FACTORIES): "
        "name one that is allowed, or use architecture.transformers"
    )
    return [Fault("architecture.factory", problem)]
