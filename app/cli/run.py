"""`mergefront run`: a whole study in this process, continued where it was cut."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.markup import escape

from app.actions.inputs import digest_inputs
from app.actions.studies import resume, submit
from app.cli.console import err, out, progress_bar
from app.cli.prepare import prepare
from app.cli.summary import print_summary
from app.cli.workspace import Workspace, open_workspace, place_faults
from app.domain.budget import least_budget
from app.domain.errors import Fault, MergefrontError, RefusedError
from app.domain.study import Study, StudySpec, StudyStatus
from app.domain.trial import Trial, TrialStatus
from app.jobs.inline import InlineJobs
from app.jobs.port import JobName
from app.report.write import write_run
from workers.device import find_device
from workers.engine.advance import advance
from workers.engine.measure import measure
from workers.engine.references import references
from workers.engine.workshop import Workshop, keep_latest
from workers.evaluators.build import build_evaluator
from workers.evaluators.protocol import Evaluator

FILES = ("front.json", "front.csv", "trials.csv", "front.png", "report.html")


class StudyFailedError(MergefrontError):
    """A study of this process failed; the sentence is the study's own."""

    code = "study_failed"


def run_study(manifest: Path, directory: Path | None, settings: Sequence[str], device: str, memory: float | None) -> None:
    """Runs or continues the study of a manifest and writes its files. Raises MergefrontError."""
    place = find_device(device)
    _check_memory(memory)
    spec = prepare(manifest, settings, [] if directory is None else place_faults(directory))
    with open_workspace(directory or Path("runs") / spec.name) as workspace:
        study = carry_out(workspace, spec, place, memory)
        trials, front = workspace.store.trials(study.id), workspace.store.front(study.id)
        write_run(workspace.directory, study, trials, front)
        print_summary(study, front)
        out.print(f"{escape(str(workspace.directory))}: {', '.join(FILES)}")


def _check_memory(memory: float | None) -> None:
    if memory is not None and not 0 <= memory < math.inf:
        raise RefusedError([Fault("--memory", f"{memory:g} is no number of gigabytes: 0 or more; 0 streams everything")])


def carry_out(workspace: Workspace, spec: StudySpec, device: str, memory: float | None) -> Study:
    """The finished study of a workspace: begun, continued, or already there. Raises StudyFailedError, ConflictError."""
    jobs = InlineJobs()
    study = _begin(workspace, jobs, spec)
    if study.status in (StudyStatus.SUBMITTED, StudyStatus.RUNNING):
        _free_leases(workspace, study)
        workshop = Workshop(workspace.store, workspace.blobs, jobs, _evaluators(device, memory), owner=f"run-{os.getpid()}")
        _drain(workshop, jobs, study)
        study = workspace.store.study(study.id)
    if study.status is not StudyStatus.FINISHED:
        reason = study.failure.message if study.failure else "it did not finish"
        raise StudyFailedError(f"the study {study.status}: {reason}")
    return study


def _begin(workspace: Workspace, jobs: InlineJobs, spec: StudySpec) -> Study:
    digests = digest_inputs(spec)
    begun = workspace.study()
    return submit(workspace.store, jobs, spec, digests) if begun is None else resume(jobs, begun, spec, digests)


def _free_leases(workspace: Workspace, study: Study) -> None:
    """Whoever held a lease is dead, since the directory is ours: its trials need not wait, and were not at fault."""
    for trial in workspace.store.trials(study.id):
        lease = workspace.store.lease(trial.id)
        if lease is not None:
            workspace.store.release(lease)


def _evaluators(device: str, memory: float | None) -> Callable[[Study], Evaluator]:
    def build(study: Study) -> Evaluator:
        evaluator = build_evaluator(study.spec, device, None if memory is None else int(memory * 1e9))
        err.print(escape(evaluator.plan))
        return evaluator

    return keep_latest(build)


def _drain(workshop: Workshop, jobs: InlineJobs, study: Study) -> None:
    handlers: Mapping[JobName, Callable[[str], None]] = {
        "advance_study": partial(advance, workshop),
        "measure_trial": partial(measure, workshop),
    }
    with progress_bar() as progress:
        bar = progress.add_task("trials", total=None)
        for _ in jobs.drain(handlers):
            trials = workshop.store.trials(study.id)
            progress.update(bar, completed=_done(trials), total=max(len(trials), _expected(study.spec)))


def _done(trials: Sequence[Trial]) -> int:
    return sum(trial.status in (TrialStatus.FINISHED, TrialStatus.FAILED) for trial in trials)


def _expected(spec: StudySpec) -> int:
    """About how many trials the whole study takes: search, verification, and the report on what is compared at the end."""
    compared = references(spec, len(spec.models.tuned))
    reported = len(compared) if not spec.baselines else len(spec.models.tuned) + 1 + len(spec.baselines)
    searched = least_budget(spec.method, len(spec.models.tuned)) if spec.method.name == "exact" else spec.method.budget
    return searched + len(compared) + 2 * spec.front.verify + reported
