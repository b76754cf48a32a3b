"""A study from its manifest to a choice, over HTTP, with the engine behind it."""

from dataclasses import replace
from functools import partial

import pytest
from safetensors.torch import save_file

from app.domain.candidates import Weights
from app.domain.key import Scope
from app.jobs.inline import InlineJobs
from tests.app.api.test_events import told
from tests.workers.engine.conftest import AnalyticEvaluator
from workers.engine.advance import advance
from workers.engine.choices import choose_merge
from workers.engine.measure import measure
from workers.engine.workshop import Workshop

TASKS = ("left", "right")
MANIFEST = {
    "name": "small",
    "models": {"base": "base.safetensors", "tuned": {"left": "mnist.safetensors", "right": "landsat.safetensors"}},
    "architecture": {"factory": "net.py:Net"},
    "tasks": {name: {"data": f"{name}.safetensors", "metric": "mse"} for name in TASKS},
    "method": {"surrogate": "quadratic", "budget": 10, "seed": 3, "link": "identity"},
    "front": {"points": 12, "verify": 3},
}


class Engine:
    """The machine room behind a service, in this process."""

    def __init__(self, house):
        self.jobs = InlineJobs()
        self.house = replace(house, service=replace(house.service, jobs=self.jobs))
        store, evaluators = house.store, {}

        def evaluator_of(study):
            return evaluators.setdefault(study.id, AnalyticEvaluator(study.spec))

        self.workshop = Workshop(store, house.service.results, self.jobs, evaluator_of, "tester", clock=lambda: 0.0)

    def run(self, jobs=10_000):
        handlers = {"advance_study": partial(advance, self.workshop), "measure_trial": partial(measure, self.workshop)}
        for done, _ in enumerate(self.jobs.drain(handlers), 1):
            if done == jobs:
                return


@pytest.fixture
def engine(house, files):
    for name in TASKS:
        save_file({}, files / f"{name}.safetensors")
    return Engine(house)


@pytest.fixture
def client(engine):
    return engine.house.client(Scope.WRITE)


def test_from_manifest_to_choice(engine, client):
    study = client.post("/v1/studies", json=MANIFEST).json()["id"]
    engine.run()
    assert client.get(f"/v1/studies/{study}", headers={"Prefer": "wait=5"}).json()["status"] == "finished"
    front = client.get(f"/v1/studies/{study}/front").json()
    assert len(front["points"]) == 12
    numbers = [number for number, _ in told(client.get(f"/v1/studies/{study}/events"))]
    assert numbers == list(range(1, len(numbers) + 1))
    rows = client.get(f"/v1/studies/{study}/trials", params={"format": "csv"}).text.splitlines()
    assert sum(",design," in row for row in rows) == 10


def test_a_choice_is_what_the_surrogates_themselves_would_choose(engine, client):
    study = client.post("/v1/studies", json=MANIFEST).json()["id"]
    engine.run()
    for left in (0.2, 1.0, 5.0):
        chosen = client.post(f"/v1/studies/{study}/choose", json={"weights": {"left": left, "right": 1.0}}).json()
        exact = choose_merge(engine.workshop, study, Weights({"left": left, "right": 1.0}))
        assert chosen["coefficients"] == pytest.approx(exact.coefficients, abs=0.01)
        for task, found in exact.predicted.items():
            assert chosen["predicted"][task]["score"] == pytest.approx(found.score, abs=0.01)


def test_a_cancelled_study_keeps_its_front(engine, client):
    study = client.post("/v1/studies", json=MANIFEST).json()["id"]
    engine.run(jobs=15)
    assert client.post(f"/v1/studies/{study}/cancel").status_code == 202
    engine.run()
    assert client.get(f"/v1/studies/{study}").json()["status"] == "cancelled"
    assert client.get(f"/v1/studies/{study}/front").json()["points"]
    assert client.post(f"/v1/studies/{study}/choose", json={"knee": True}).status_code == 200


def test_a_study_cancelled_at_once_says_why_it_has_no_front(engine, client):
    study = client.post("/v1/studies", json=MANIFEST).json()["id"]
    client.post(f"/v1/studies/{study}/cancel")
    engine.run()
    answer = client.get(f"/v1/studies/{study}/front")
    assert answer.status_code == 404
    assert "cancelled before there was a front" in answer.json()["detail"]


def test_an_extended_study_gets_a_new_front(engine, client):
    study = client.post("/v1/studies", json=MANIFEST).json()["id"]
    engine.run()
    before = client.get(f"/v1/studies/{study}/front")
    client.post(f"/v1/studies/{study}/extend", json={"trials": 5})
    assert client.get(f"/v1/studies/{study}/front").json()["points"] == before.json()["points"]
    engine.run()
    after = client.get(f"/v1/studies/{study}/front")
    assert after.headers["etag"] != before.headers["etag"]
    assert after.json()["evaluations"]["design:search"] == 15
    assert client.post(f"/v1/studies/{study}/choose", json={"knee": True}).json()["revision"] == 1
