"""The service of service_load.py, on a study that is finished: python service_load_server.py PORT STUDY KEY"""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from fastapi import FastAPI

from app.config import Settings
from app.domain.candidates import Candidates
from app.domain.front import Figures, Front, FrontPoint, Predicted, ReferencePoint
from app.domain.ids import new_id
from app.domain.key import Key, Scope, digest_secret
from app.domain.study import FactoryArchitecture, ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.task import SplitShares, TaskSpec
from app.jobs.inline import InlineJobs
from app.main import build_app, open_service, run_app
from app.store.codec import encode

STUDY, KEY = sys.argv[2:4]
TASKS = tuple(f"task-{number}" for number in range(4))
POINTS, CANDIDATES = 100, 2000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_app(service(Path(folder)), "127.0.0.1", int(sys.argv[1]))


def service(folder: Path) -> FastAPI:
    """On SQLite, with one key."""
    found = open_service(Settings(data=folder, log_level="warning"), InlineJobs())
    found.catalog.add_key(Key(new_id("key"), "", Scope.READ, digest_secret(KEY), datetime.now(UTC)))
    now = datetime.now(UTC)
    spec = StudySpec(
        STUDY, ModelSetSpec("base", dict.fromkeys(TASKS, "tuned")), FactoryArchitecture("net.py", "Net"),
        tuple(TaskSpec(name, f"{name}.safetensors", "accuracy", SplitShares()) for name in TASKS),
    )  # fmt: skip
    study = Study(new_id("study"), spec, StudyStatus.SUBMITTED, now, now)
    found.store.add_study(study)
    found.store.step_study(study.id, StudyStatus.RUNNING)
    found.store.finish(front_of(study.id, found.results.put(encode(candidates()).encode())))
    return build_app(found)


def front_of(study_id: str, kept: str) -> Front:
    draw = np.random.default_rng(0)
    own = dict.fromkeys(TASKS, 0.9)
    points = tuple(
        FrontPoint(tuple(at), {task: Predicted(score, score - 0.02, score + 0.02) for task, score in zip(TASKS, scores, strict=True)})
        for at, scores in draw.random((POINTS, 2, 4)).tolist()
    )
    individuals = tuple(ReferencePoint(task, tuple(float(task == name) for name in TASKS), own, own) for task in TASKS)
    return Front(study_id, TASKS, TASKS, points, (), Figures(0.4, dict.fromkeys(TASKS, 0.0)), (), individuals, candidates=kept)


def candidates() -> Candidates:
    draw = np.random.default_rng(1)
    scores = tuple(map(tuple, draw.random((CANDIDATES, 4)).tolist()))
    ones, zeros = (1.0,) * 4, (0.0,) * 4
    return Candidates(TASKS, TASKS, (True,) * 4, ones, zeros, scores, scores, scores, scores, scores)


if __name__ == "__main__":
    main()
