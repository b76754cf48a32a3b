"""Before any work: the manifest read, everything that is wrong with it and with what it names told at once."""

from collections.abc import Sequence
from pathlib import Path

from app.domain.errors import Fault, ManifestError
from app.domain.study import StudySpec
from app.manifest.read import load_document, override, parse_manifest


def prepare(manifest: Path, settings: Sequence[str], others: Sequence[Fault] = ()) -> StudySpec:
    """The checked spec of a manifest file, to be run in this process. `others`: faults of the command beside it, told with its own.

    Raises ManifestError with every fault of its shape, its numbers and its files, and for tasks that only a service can have evaluated.
    """
    from workers.evaluators.check import check_study

    if manifest.is_dir():
        raise ManifestError([*others, Fault("", f"{manifest}: is a directory; name the manifest, a YAML or JSON file")])
    if not manifest.is_file():
        raise ManifestError([*others, Fault("", f"{manifest}: no such file")])
    spec, faults = parse_manifest(override(load_document(manifest), settings), manifest.resolve().parent)
    if spec is not None:
        faults += [*_elsewhere_faults(spec), *check_study(spec)]
    if spec is None or faults or others:
        raise ManifestError([*others, *faults])
    return spec


def _elsewhere_faults(spec: StudySpec) -> list[Fault]:
    problem = "external evaluators ask a service for their trials: start `mergefront serve` and send it the study with `mergefront submit`"
    return [Fault(f"tasks.{task.name}.metric", problem) for task in spec.tasks_elsewhere]
