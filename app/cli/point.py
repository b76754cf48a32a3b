"""Which merge is meant: the ways of naming one on the command line, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.preferences import parse_constraint, parse_vector, parse_weights
from app.cli.workspace import Workspace, read_workspace
from app.domain.candidates import Balance, Best, Weights, Wish
from app.domain.errors import ConflictError, Fault, NotFoundError, RefusedError
from app.domain.front import Front, FrontPoint
from app.domain.merge import ChosenPoint, told_scores
from app.domain.study import Study, StudySpec
from app.domain.trial import TrialStatus
from app.manifest.read import load_document, parse_manifest


@dataclass(frozen=True)
class PointRequest:
    """At most one of `prefer`, `at`, `point`, `maximize` names the merge; none of them means the balanced one."""

    prefer: str | None = None
    at: str | None = None
    point: int | None = None
    require: Sequence[str] = ()
    maximize: str | None = None

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("prefer", "at", "point", "maximize") if getattr(self, name) is not None]
        if len(given) > 1:
            raise RefusedError([Fault(given[1], f"names another merge than {given[0]}: give one of them")])
        if self.require and given and given[0] in ("--at", "--point"):
            raise RefusedError([Fault("--require", f"bounds choose a merge, {given[0]} names one: give one of them")])


def find_point(source: Path, request: PointRequest) -> ChosenPoint:
    """The merge that `request` names in a run's directory, or in a manifest (then by `--at` alone, where it was never run).

    Raises RefusedError, NotFoundError, and InfeasibleError for bounds that nothing meets.
    """
    spec = _manifest_spec(source) if source.is_file() else None
    directory = source if spec is None else Path("runs") / spec.name
    if spec is not None and request.at is not None:
        # the box's columns are only known by the weights where layers are grouped
        columns = tuple(spec.models.tuned) if spec.space.groups == "task" else ("",) * (request.at.count(",") + 1)
        return ChosenPoint(spec, parse_vector(request.at, columns), "named by its coefficients")
    workspace = read_workspace(directory)
    study = workspace.study()
    if study is None:
        raise NotFoundError(f"{directory} holds no study yet")
    return _of_run(workspace, study, request)


def _manifest_spec(manifest: Path) -> StudySpec:
    spec, faults = parse_manifest(load_document(manifest), manifest.resolve().parent)
    if spec is None or faults:
        raise RefusedError(faults)
    return spec


def _of_run(workspace: Workspace, study: Study, request: PointRequest) -> ChosenPoint:
    if request.at is not None:
        found = parse_vector(request.at, _columns(workspace, study))
        return ChosenPoint(study.spec, found, "named by its coefficients", study.digests, study.created)
    if request.point is not None:
        return _of_front(study, workspace.store.front(study.id), request.point)
    return _chosen(workspace, study, request)


def _columns(workspace: Workspace, study: Study) -> Sequence[str]:
    trials = workspace.store.trials(study.id)
    if study.spec.space.groups == "task" or not trials:
        return tuple(study.spec.models.tuned)
    return workspace.store.front(study.id).columns


def _of_front(study: Study, front: Front, number: int) -> ChosenPoint:
    if not 0 <= number < len(front.points):
        raise RefusedError([Fault("--point", f"no point {number}: the front has 0 to {len(front.points) - 1}")])
    point: FrontPoint = front.points[number]
    how = f"point {number} of the front"
    predicted, intervals = told_scores(point.predicted)
    return ChosenPoint(
        study.spec, point.coefficients, how, study.digests, study.created, predicted, intervals, point.search, point.report
    )


def _chosen(workspace: Workspace, study: Study, request: PointRequest) -> ChosenPoint:
    from app.jobs.inline import InlineJobs
    from surrogate.aims import Constraint
    from workers.engine.choices import choose_merge
    from workers.engine.workshop import Workshop
    from workers.evaluators.build import build_evaluator

    if not any(trial.status is TrialStatus.FINISHED for trial in workspace.store.trials(study.id)):
        raise ConflictError("nothing has been measured yet: let the run finish first")
    tasks = [task.name for task in study.spec.tasks]
    constraints = [Constraint(*parse_constraint(text, tasks)) for text in request.require]
    wish: Wish = Balance()
    if request.prefer is not None:
        wish = Weights(parse_weights(request.prefer, tasks))
    elif request.maximize is not None:
        wish = Best(_known_task(request.maximize, tasks))
    workshop = Workshop(workspace.store, workspace.blobs, InlineJobs(), lambda study: build_evaluator(study.spec, "cpu"), owner="merge")
    choice = choose_merge(workshop, study.id, wish, constraints)
    return ChosenPoint(study.spec, choice.coefficients, _told(request), study.digests, study.created, *told_scores(choice.predicted))


def _known_task(task: str, tasks: Sequence[str]) -> str:
    if task not in tasks:
        raise RefusedError([Fault("--maximize", f"no task is called {task!r}; there are {', '.join(tasks)}")])
    return task


def _told(request: PointRequest) -> str:
    wish = f"preferring {request.prefer}" if request.prefer else f"best for {request.maximize}" if request.maximize else "balanced"
    return f"chosen on the surrogates: {wish}" + (f", with {' and '.join(request.require)}" if request.require else "")
