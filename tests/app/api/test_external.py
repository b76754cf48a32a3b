"""External evaluators over HTTP: trials asked for, kept, scored; and everything that can go wrong with it."""

import time
from datetime import datetime

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from app.domain.key import Scope
from app.domain.study import StudyStatus, TransformSpec
from app.domain.task import ExternalTask
from app.domain.trial import Measurement, Proposal, TrialStatus
from app.jobs.port import Job
from tests.app.api.test_whole import MANIFEST, Engine, engine  # noqa: F401

RIGHT = {"metric": {"external": {"name": "rating", "low": 0, "high": 10}}}


@pytest.fixture
def study(house, client, example):
    """A running study of which every task is evaluated elsewhere, with four trials."""
    changes = {"tasks": dict.fromkeys(example["tasks"], RIGHT)}
    return begun(house, house.study(client, **changes), 4)


def begun(house, study, trials):
    house.store.step_study(study.id, StudyStatus.RUNNING)
    house.store.propose(study.id, 0, [Proposal("design", "search", (place / 10, 0.5)) for place in range(trials)])
    house.jobs.sent.clear()
    return house.store.study(study.id)


def ask(client, study, **query):
    answer = client.post(f"/v1/studies/{study.id}/trials:ask", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def tell(client, asked, **result):
    return client.post(asked["links"]["result"], json={"token": asked["token"], **result})


SCORES = {"mnist": 7.5, "landsat": 2}


class TestAsking:
    def test_tells_what_to_evaluate(self, client, study):
        told = ask(client, study, n=2, lease=600)
        assert (told["study"], told["status"], [one["number"] for one in told["items"]]) == (study.id, "running", [0, 1])
        first = told["items"][0]
        assert (first["columns"], first["coefficients"], first["split"]) == (["mnist", "landsat"], [0.0, 0.5], "search")
        assert (first["tasks"], first["token"], first["attempts"]) == (["mnist", "landsat"], 1, 1)
        assert datetime.fromisoformat(first["lease_until"]).timestamp() == pytest.approx(time.time() + 600, abs=60)

    def test_gives_a_trial_to_one_alone(self, client, study):
        asked = [one["id"] for _ in range(5) for one in ask(client, study)["items"]]
        assert len(asked) == len(set(asked)) == 4

    def test_says_when_there_will_be_none(self, client, study):
        client.post(f"/v1/studies/{study.id}/cancel")
        assert ask(client, study) | {"study": ""} == {"study": "", "status": "cancelled", "items": []}

    def test_waits_for_a_trial(self, house, client, study):
        ask(client, study, n=4, lease=1)
        began = time.monotonic()
        answer = client.post(f"/v1/studies/{study.id}/trials:ask", headers={"Prefer": "wait=20"})
        assert [one["attempts"] for one in answer.json()["items"]] == [2] and time.monotonic() - began < 19
        assert answer.headers["preference-applied"] == "wait=20"

    @pytest.mark.parametrize("query", [{"n": 0}, {"n": 1001}, {"lease": 0}, {"lease": 1e9}, {"by": "x" * 65}])
    def test_refuses_what_makes_no_sense(self, client, study, query):
        assert client.post(f"/v1/studies/{study.id}/trials:ask", params=query).status_code == 422

    def test_is_for_keys_that_may_write(self, house, study):
        assert house.client(Scope.READ).post(f"/v1/studies/{study.id}/trials:ask").status_code == 403


class TestWeights:
    def test_are_those_of_the_trial_under_its_own_transform(self, house, client, example, files):
        changes = {"tasks": dict.fromkeys(example["tasks"], RIGHT)}
        draw = torch.Generator().manual_seed(0)
        for name in ("base", "mnist", "landsat"):
            save_file({"weight": torch.randn(8, 8, generator=draw)}, files / f"{name}.safetensors")
        study = house.study(client, **changes)
        house.store.step_study(study.id, StudyStatus.RUNNING)
        transforms = (TransformSpec(), TransformSpec("ties", 0.2))
        house.store.propose(study.id, 0, [Proposal("baseline", "search", (0.5, 0.5), transform=one) for one in transforms])
        first, second = (load(self.read(client, asked)) for asked in ask(client, study, n=2)["items"])
        base, mnist, landsat = (load_file(files / f"{name}.safetensors")["weight"] for name in ("base", "mnist", "landsat"))
        assert torch.allclose(first["weight"], (mnist + landsat) / 2, atol=1e-6)
        changed = (second["weight"] != base).float().mean()
        assert 0.15 < changed < 0.45

    def read(self, client, asked):
        (file,) = [one for one in client.get(asked["links"]["weights"]).json()["items"] if one["name"].endswith(".safetensors")]
        return client.get(file["href"]).content


class TestTelling:
    def test_finishes_the_trial(self, house, client, study):
        answer = tell(client, ask(client, study)["items"][0], scores=SCORES, seconds=3.5)
        assert (answer.status_code, answer.json()["status"], answer.json()["scores"]) == (200, "finished", SCORES)
        assert answer.json()["seconds"] == 3.5

    def test_wakes_the_study_with_the_last_one(self, house, client, study):
        asked = ask(client, study, n=4)["items"]
        for one in asked:
            assert house.jobs.sent == []
            tell(client, one, scores=SCORES)
        assert house.jobs.sent == [Job("advance_study", study.id)]

    def test_twice_is_answered_alike(self, client, study):
        asked = ask(client, study)["items"][0]
        assert tell(client, asked, scores=SCORES).json() == tell(client, asked, scores=SCORES).json()

    def test_twice_differently_lets_the_first_win(self, house, client, study):
        asked = ask(client, study)["items"][0]
        tell(client, asked, scores=SCORES)
        answer = tell(client, asked, scores=SCORES | {"mnist": 1})
        assert (answer.status_code, answer.json()["code"]) == (409, "stale_lease")
        assert house.store.trial(asked["id"]).scores == SCORES

    def test_a_failure_is_kept_with_its_reason(self, client, study):
        asked = ask(client, study)["items"][0]
        for _ in range(2):
            answer = tell(client, asked, failure="the judge fell asleep").json()
            assert (answer["status"], answer["failure"]) == ("failed", {"code": "external", "message": "the judge fell asleep"})

    @pytest.mark.parametrize(
        ("scores", "where"),
        [
            ({"mnist": 1}, "scores.landsat"),
            (SCORES | {"other": 1}, "scores.other"),
            (SCORES | {"mnist": 10.5}, "scores.mnist"),
            (SCORES | {"mnist": -1}, "scores.mnist"),
            (SCORES | {"mnist": "7"}, "scores.mnist"),
        ],
    )
    def test_refuses_what_is_no_result(self, client, study, scores, where):
        asked = ask(client, study)["items"][0]
        answer = tell(client, asked, scores=scores)
        assert answer.status_code == 422 and [fault["where"] for fault in answer.json()["faults"]] == [where]
        assert tell(client, asked, scores=SCORES).status_code == 200

    @pytest.mark.parametrize("body", [{}, {"scores": SCORES, "failure": "both"}, {"failure": ""}, {"scores": SCORES, "seconds": -1}])
    def test_takes_exactly_one_of_both(self, client, study, body):
        assert tell(client, ask(client, study)["items"][0], **body).status_code == 422


class TestKeeping:
    def test_prolongs_the_lease(self, client, study):
        asked = ask(client, study, lease=5)["items"][0]
        answer = client.post(asked["links"]["heartbeat"], json={"token": asked["token"], "lease": 900})
        assert answer.status_code == 200 and answer.json()["lease_until"] > asked["lease_until"]

    def test_tells_that_the_trial_was_lost(self, house, client, study):
        asked = ask(client, study)["items"][0]
        house.store.ask(study.id, "other", 1, 60.0, time.time() + 1e6)
        answer = client.post(asked["links"]["heartbeat"], json={"token": asked["token"]})
        assert (answer.status_code, answer.json()["code"]) == (409, "stale_lease")
        assert tell(client, asked, scores=SCORES).status_code == 409

    def test_tells_that_the_study_was_cancelled(self, client, study):
        asked = ask(client, study)["items"][0]
        client.post(f"/v1/studies/{study.id}/cancel")
        assert client.post(asked["links"]["heartbeat"], json={"token": asked["token"]}).status_code == 409


class TestStrangers:
    def test_find_no_trial(self, house, client, study):
        asked = ask(client, study)["items"][0]
        stranger = house.client(Scope.ADMIN, "other")
        assert tell(stranger, asked, scores=SCORES).status_code == 404
        assert stranger.post(asked["links"]["heartbeat"], json={"token": 1}).status_code == 404
        assert house.store.trial(asked["id"]).status is TrialStatus.ASKED

    def test_cannot_take_what_a_worker_measures(self, house, client, example):
        mixed = {**example["tasks"], "mnist": RIGHT}
        study = begun(house, house.study(client, tasks=mixed), 1)
        (trial,) = house.store.trials(study.id)
        lease = house.store.claim(trial.id, "worker", 60.0, 0.0)
        for path, body in (("heartbeat", {}), ("result", {"scores": {"mnist": 1}}), ("result", {"failure": "no"})):
            answer = client.post(f"/v1/trials/{trial.id}/{path}", json={"token": lease.token, **body})
            assert (answer.status_code, answer.json()["code"]) == (409, "stale_lease")
        assert house.store.record(lease, Measurement({"landsat": 0.5}, {}, 1.0)).status is TrialStatus.OFFERED


@pytest.mark.parametrize("elsewhere", [("right",), ("left", "right")], ids=["half", "all"])
def test_a_whole_study(engine, elsewhere):  # noqa: F811
    """Asked for, scored by the engine's own formula, finished: with the front of a study that is measured here."""
    client = engine.house.client(Scope.WRITE)
    reference = client.post("/v1/studies", json=MANIFEST).json()["id"]
    engine.run()
    external = {"metric": {"external": {"name": "error", "direction": "minimize", "low": 0}}}
    manifest = {**MANIFEST, "tasks": MANIFEST["tasks"] | dict.fromkeys(elsewhere, external)}
    if len(elsewhere) == 2:
        del manifest["architecture"]
    study = engine.house.store.study(client.post("/v1/studies", json=manifest).json()["id"])
    assert {task.name for task in study.spec.tasks if isinstance(task, ExternalTask)} == set(elsewhere)
    judge, measured = engine.workshop.evaluator_of(engine.house.store.study(reference)), engine.workshop.evaluator_of(study)
    measured.scorers = {name: task for name, task in judge.scorers.items() if name not in elsewhere}
    engine.run()
    while (told := ask(client, study, n=5))["items"]:
        for asked in told["items"]:
            found = judge.evaluate(engine.house.store.trial(asked["id"]).proposal).scores
            assert tell(client, asked, scores={name: found[name] for name in elsewhere}).status_code == 200
        engine.run()
    assert told["status"] == "finished"
    fronts = [client.get(f"/v1/studies/{one}/front").json()["points"] for one in (reference, study.id)]
    assert fronts[0] == fronts[1]
