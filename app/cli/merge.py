"""`mergefront merge`: the merged weights of one point, in the base's own layout."""

from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from app.actions.card import card_of, form_of
from app.actions.weights import check_unchanged
from app.cli.console import err, out
from app.cli.merge_inputs import open_models
from app.cli.point import PointRequest, find_point
from app.cli.workspace import STATE
from app.domain.errors import Fault, RefusedError
from app.domain.merge import ChosenPoint
from checkpoints.combine import Merge
from checkpoints.groups import Coefficients, group_tensors, spread_coefficients
from checkpoints.model_set import ModelSet
from checkpoints.stream import MergedFiles
from checkpoints.tangent_export import check_weights, merge_tangent
from checkpoints.tangents import is_tangent
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import NoTransform, Transform
from checkpoints.write import write_files, write_merge
from workers.evaluators.merges import to_transform


@dataclass(frozen=True)
class MergeRequest:
    """What the command was asked for. `source`: a run's directory or a manifest; `out`: where the weights go.

    `dense`: whole weights even where all tuned models are adapters, whose merge is one adapter otherwise.
    """

    source: Path
    out: Path | None
    point: PointRequest = field(default_factory=PointRequest)
    recipe: Path | None = None
    dense: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.out is None and self.recipe is None:
            raise RefusedError([Fault("--out", "name the directory of the merged weights, or a file for --recipe")])


def run_merge(request: MergeRequest) -> ChosenPoint:
    """Writes what was asked for and returns the point. Raises RefusedError, ConflictError, CheckpointError; nothing is left half."""
    chosen = find_point(request.source, request.point)
    models = open_models(chosen.spec)
    check_unchanged(models, chosen.digests, chosen.since)
    _check_out(request, models)
    groups = group_tensors(models.sizes, chosen.spec.space.groups)
    coefficients, transform = spread_coefficients(chosen.coefficients, groups), to_transform(chosen.spec.transform)
    recipe = None if request.recipe is None else _compose_recipe(models, coefficients, transform)
    if request.out is not None:
        adapters = is_tangent(models) or (isinstance(transform, NoTransform) and _all_adapters(models))
        write = _write_adapter if adapters and not request.dense else _write_weights
        write(request, request.out, chosen, models, coefficients, transform)
    if request.recipe is not None and recipe is not None:
        _write_recipe(request.recipe, recipe)
    _tell(request, chosen, groups.labels)
    return chosen


def _check_out(request: MergeRequest, models: ModelSet) -> None:
    """Raises RefusedError where replacing what --out holds would take away what the merge is made from, or where the user stands."""
    layouts = (models.base.layout, *(source.tensors.layout for source in models.sources.values()))
    kept = (Path.cwd(), request.source, request.source / STATE, *(layout.root for layout in layouts))
    lost = [place for place in kept if request.out is not None and place.resolve().is_relative_to(request.out.resolve())]
    if request.force and lost:
        raise RefusedError([Fault("--out", f"{request.out} holds {lost[0]}, which must not be replaced: name another directory")])


def _all_adapters(models: ModelSet) -> bool:
    return all(source.tensors.layout.kind == "lora" for source in models.sources.values())


def _compose_recipe(models: ModelSet, coefficients: Coefficients, transform: Transform) -> str:
    from checkpoints.recipe import write_recipe

    return write_recipe(models, coefficients, transform)


def _write_recipe(file: Path, recipe: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(recipe, encoding="utf-8")
    except OSError as error:
        raise RefusedError([Fault("--recipe", f"{file} cannot be written: {error.strerror}")]) from error


def _write_adapter(
    request: MergeRequest, target: Path, chosen: ChosenPoint, models: ModelSet, coefficients: Coefficients, transform: Transform
) -> None:
    from checkpoints.adapter_export import stack_adapters

    merged = merge_tangent(models, coefficients, transform) if is_tangent(models) else stack_adapters(models, coefficients)
    card = card_of(chosen, models, coefficients, transform, str(request.source), form_of(models))
    write_files({**merged.files(), "README.md": card}, target, replace=request.force)


def _write_weights(
    request: MergeRequest, target: Path, chosen: ChosenPoint, models: ModelSet, coefficients: Coefficients, transform: Transform
) -> None:
    check_weights(models)
    files = MergedFiles(Merge(models, coefficients, prepare_transform(transform, models)), transform)
    card = card_of(chosen, models, coefficients, transform, str(request.source), form="full weights")
    with _byte_bar() as progress:
        bar = progress.add_task("merging", total=sum(file.size for file in files.files.values()))
        write_merge(files, target, {"README.md": card}, request.force, lambda written: progress.advance(bar, written))


def _byte_bar() -> Progress:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=err, disable=not err.is_terminal)


def _tell(request: MergeRequest, chosen: ChosenPoint, groups: tuple[str, ...]) -> None:
    out.print(f"{escape(chosen.how)}: {', '.join(map(escape, _named(chosen, groups)))}")
    for title, scores in (("predicted", chosen.predicted), ("search split", chosen.search), ("report split", chosen.report)):
        if scores:
            out.print(f"  {title}: {', '.join(f'{escape(task)} {score:.4f}' for task, score in scores.items())}")
    out.print(f"written: {', '.join(escape(str(place)) for place in (request.out, request.recipe) if place is not None)}")


def _named(chosen: ChosenPoint, groups: tuple[str, ...]) -> list[str]:
    names = [name if len(groups) == 1 else f"{name}:{group}" for name in chosen.spec.models.tuned for group in groups]
    return [f"{name} {value:.4g}" for name, value in zip(names, chosen.coefficients, strict=True)]
