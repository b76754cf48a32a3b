"""A service in memory, with a manifest whose files exist, and studies that are finished by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import save_file

from app.api.manifests import EXAMPLE
from app.api.service import Service
from app.blobs.memory import MemoryBlobs
from app.config import Settings
from app.domain.candidates import Candidates
from app.domain.errors import UnavailableError
from app.domain.front import Figures, Fit, Front, FrontPoint, Predicted, ReferencePoint
from app.domain.ids import new_id
from app.domain.key import Key, Scope, digest_secret, new_secret
from app.domain.study import Study, StudyStatus
from app.domain.trial import Measurement, Proposal
from app.jobs.port import Job, JobName, Jobs
from app.main import build_app
from app.store.codec import encode
from app.store.memory import MemoryStore
from app.store.memory_catalog import MemoryCatalog
from app.store.memory_rows import MemoryRows
from checkpoints.pairing import Pairing

TASKS = ("mnist", "landsat")


@dataclass
class SentJobs(Jobs):
    """Keeps what was sent. `down`: nothing can be sent."""

    sent: list[Job] = field(default_factory=list)
    down: bool = False

    def send(self, name: JobName, subject: str) -> None:
        self.check()
        self.sent.append(Job(name, subject))

    def check(self) -> None:
        if self.down:
            raise UnavailableError("the broker does not answer")


@dataclass
class House:
    """A service with everything that is behind it."""

    service: Service
    jobs: SentJobs

    @property
    def store(self) -> MemoryStore:
        return self.service.store

    def client(self, scope: Scope | None = None, tenant: str = "acme", **options) -> TestClient:
        """Over a loopback name, with a fresh key of that scope; without one for None."""
        found = TestClient(build_app(self.service), base_url="http://localhost", raise_server_exceptions=False, **options)
        if scope is not None:
            secret = new_secret()
            self.service.catalog.add_key(Key(new_id("key"), tenant, scope, digest_secret(secret), datetime.now(UTC)))
            found.headers["Authorization"] = f"Bearer {secret}"
        return found

    def study(self, client: TestClient, **changes: object) -> Study:
        """One that was just created over HTTP, from the example."""
        answer = client.post("/v1/studies", json={**EXAMPLE, **changes})
        assert answer.status_code == 202, answer.text
        return self.store.study(answer.json()["id"])

    def finish(self, study: Study, trials: int = 5) -> Front:
        """Runs the study by hand: a few trials, and a front."""
        self.measure(study, trials)
        digest = self.service.results.put(encode(candidates_of()).encode())
        front = replace(front_of(study.id), candidates=digest)
        self.store.finish(front)
        return front

    def begin(self, study: Study, pairing: Pairing | None = None) -> Study:
        """The study with its first trial proposed, as a worker does it once the checkpoints are held against each other."""
        self.store.step_study(study.id, StudyStatus.RUNNING)
        noted = self.service.results.put(encode(pairing or Pairing()).encode())
        self.store.propose(study.id, 0, [Proposal("design", "search", (0.5, 0.5))], noted)
        return self.store.study(study.id)

    def measure(self, study: Study, trials: int) -> None:
        if self.store.study(study.id).status is StudyStatus.SUBMITTED:
            self.store.step_study(study.id, StudyStatus.RUNNING)
        first = len(self.store.trials(study.id))
        proposals = [Proposal("design", "search", (place / 10, 1 - place / 10)) for place in range(first, first + trials)]
        for trial in self.store.propose(study.id, first, proposals):
            lease = self.store.claim(trial.id, "tester", 60.0, 0.0)
            self.store.record(lease, Measurement({"mnist": 0.5 + trial.number / 100, "landsat": 0.6}, {}, 0.5))


def candidates_of() -> Candidates:
    """A straight line between the two tasks' best points."""
    shares = [place / 100 for place in range(101)]
    scores = tuple((share, 1 - share) for share in shares)
    low, high = (tuple((a + step, b + step) for a, b in scores) for step in (-0.01, 0.01))
    return Candidates(TASKS, TASKS, (True, True), (1.0, 1.0), (0.0, 0.0), scores, scores, low, high, scores)


def front_of(study_id: str) -> Front:
    points = tuple(
        FrontPoint(
            (share, 1 - share),
            {"mnist": Predicted(share, share - 0.1, share + 0.1), "landsat": Predicted(1 - share, 0.9 - share, 1.1 - share)},
            {"mnist": share, "landsat": 1 - share} if share == 0.5 else {},
            {"mnist": share, "landsat": 1 - share} if share == 0.5 else {},
        )
        for share in (0.2, 0.5, 0.8)
    )
    fits = tuple(Fit(task, "quadratic", 5, 0.9, 0.8, 0.01, {"rank": 6}, (0.1, 0.2), (0.1, 0.3)) for task in TASKS)
    own = {"mnist": 0.9, "landsat": 0.8}
    individuals = tuple(ReferencePoint(task, tuple(float(task == name) for name in TASKS), own, own) for task in TASKS)
    base = ReferencePoint("base", (0.0, 0.0), {"mnist": 0.1, "landsat": 0.1}, {"mnist": 0.1, "landsat": 0.1})
    figures = Figures(0.4, {"mnist": 0.1, "landsat": 0.1})
    return Front(study_id, TASKS, TASKS, points, fits, figures, (), individuals, base, {"design:search": 5}, {"torch": "2"})


def write_example(folder: Path) -> None:
    """The files that the example names."""
    for name in ("base", "mnist", "landsat"):
        save_file({"weight": torch.ones(2, 2)}, folder / f"{name}.safetensors")
    for name in TASKS:
        save_file({"inputs": torch.ones(10, 2), "targets": torch.zeros(10, dtype=torch.long)}, folder / f"{name}-test.safetensors")
    (folder / "net.py").write_text("def Net(): ...\n")


@pytest.fixture
def files(tmp_path) -> Path:
    folder = (tmp_path / "allowed").resolve()
    folder.mkdir()
    write_example(folder)
    return folder


@pytest.fixture
def make_house(tmp_path, files) -> Callable[..., House]:
    def make(**settings: object) -> House:
        jobs = SentJobs()
        chosen = Settings(**{"data": tmp_path, "directories": (files,), "factories": (f"{files}/net.py:Net",)} | settings)
        rows, results = MemoryRows(), MemoryBlobs(tmp_path)
        return House(Service(chosen, MemoryStore(rows=rows), MemoryCatalog(rows), MemoryBlobs(tmp_path), results, jobs), jobs)

    return make


@pytest.fixture
def house(make_house) -> House:
    return make_house()


@pytest.fixture
def client(house) -> TestClient:
    """A key of scope write, tenant acme."""
    return house.client(Scope.WRITE)


@pytest.fixture(scope="session")
def example():
    return EXAMPLE
