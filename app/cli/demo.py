"""`mergefront demo`: the main job from nothing, on real data."""

import time
from dataclasses import replace
from pathlib import Path

from rich.markup import escape

from app.cli.console import err, out
from app.cli.merge import MergeRequest, run_merge
from app.cli.point import PointRequest
from app.cli.prepare import prepare
from app.cli.run import FILES, run_study
from app.cli.workspace import read_workspace
from app.demo.digits import write_model_set
from app.domain.errors import MergefrontError
from app.domain.front import FrontPoint
from app.domain.study import ModelSetSpec
from app.domain.trial import Proposal
from app.report.summary import balanced_point
from workers.evaluators.build import build_evaluator


class ReadBackError(MergefrontError):
    """A merged checkpoint does not score what its trial scored."""

    code = "read_back"


def run_demo(directory: Path) -> None:
    """Trains a model set, searches it, writes the balanced point's merge, and measures that merge again from its file."""
    began = time.monotonic()
    err.print("training a base and three fine-tunes on scikit-learn's digits")
    manifest = write_model_set(directory / "models", err.print)
    run_study(manifest, directory, (), "cpu", None)
    number, point = _balanced(directory)
    merged = directory / "merged"
    run_merge(MergeRequest(directory, merged, PointRequest(point=number), force=True))
    _check_read_back(manifest, merged, point)
    out.print(f"look at {escape(str(directory / FILES[-1]))}; done in {time.monotonic() - began:.0f} s")


def _balanced(directory: Path) -> tuple[int, FrontPoint]:
    workspace = read_workspace(directory)
    study = workspace.study()
    assert study is not None  # it has just been run
    front = workspace.store.front(study.id)
    number = balanced_point(study, front)
    assert number is not None  # accuracies normalise, and the demo verifies points
    return number, front.points[number]


def _check_read_back(manifest: Path, merged: Path, point: FrontPoint) -> None:
    """Measures the written weights as a base of their own. Raises ReadBackError when a score differs from the point's."""
    spec = prepare(manifest, ())
    alone = replace(spec, models=ModelSetSpec(str(merged), spec.models.tuned))
    scores = build_evaluator(alone, "cpu").evaluate(Proposal("verify", "report", (0.0,) * len(spec.models.tuned))).scores
    if dict(scores) != dict(point.report):
        raise ReadBackError(f"{merged} scores {dict(scores)}, but its trial scored {dict(point.report)}")
    told = ", ".join(f"{task} {score:.3f}" for task, score in scores.items())
    out.print(f"{escape(str(merged))}: read back and measured again on the report split: {told}; the same as its trial")
