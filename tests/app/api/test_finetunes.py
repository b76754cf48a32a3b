"""Fine-tunings over HTTP: asked for, looked at, followed, cancelled."""

from dataclasses import replace

import pytest

from app.api.manifests import FINETUNE_EXAMPLE
from app.domain.finetune import Finetune, Progress
from app.domain.study import Failure
from app.jobs.port import Job


@pytest.fixture
def asked(client):
    """The answer to the example's request."""
    answer = client.post("/v1/finetunes", json=FINETUNE_EXAMPLE)
    assert answer.status_code == 202, answer.text
    return answer.json()


def change(house, asked, what):
    """Write what a worker would."""
    row = house.service.catalog.one(Finetune, "acme", asked["id"])
    changed = what(row)
    house.service.catalog.replace(row, changed)
    return changed


def followed(client, asked, **options):
    answer = client.get(f"/v1/finetunes/{asked['id']}/events", **options)
    return answer.status_code, [line[6:].strip() for line in answer.text.splitlines() if line.startswith("event:")]


class TestCreated:
    def test_is_written_down_and_waked(self, house, client, asked):
        assert (asked["status"], asked["kind"], asked["step"], asked["checkpoint"]) == ("submitted", "llora", 0, None)
        assert house.jobs.sent[-1] == Job("train_adapter", asked["id"])
        assert client.get(f"/v1/finetunes/{asked['id']}").json() == asked
        assert client.get("/v1/finetunes").json()["items"] == [asked]

    def test_without_a_broker_it_waits_for_the_sweeper(self, house, client):
        house.jobs.down = True
        assert client.post("/v1/finetunes", json=FINETUNE_EXAMPLE).status_code == 202

    def test_location(self, client):
        answer = client.post("/v1/finetunes", json=FINETUNE_EXAMPLE)
        assert client.get(answer.headers["location"]).json()["id"] == answer.json()["id"]

    def test_once_under_one_key(self, client):
        answers = [client.post("/v1/finetunes", json=FINETUNE_EXAMPLE, headers={"Idempotency-Key": '"one"'}) for _ in range(2)]
        assert answers[0].json() == answers[1].json() and len(client.get("/v1/finetunes").json()["items"]) == 1

    def test_every_fault_is_told_at_once(self, client):
        wrong = {**FINETUNE_EXAMPLE, "adapter": {"kind": "dora", "rnk": 1}, "training": {"epochs": 0}}
        answer = client.post("/v1/finetunes", json=wrong)
        assert answer.status_code == 422
        assert {fault["where"] for fault in answer.json()["faults"]} == {"adapter.kind", "adapter.rnk", "training.epochs"}
        assert "did you mean 'rank'?" in answer.text

    def test_what_it_may_not_name(self, client):
        wrong = {**FINETUNE_EXAMPLE, "base": "/etc/passwd", "task": {"data": "ds_" + "0" * 26, "metric": "accuracy"}}
        answer = client.post("/v1/finetunes", json=wrong)
        assert answer.status_code == 422
        assert {fault["where"] for fault in answer.json()["faults"]} == {"base", "task.data"}

    def test_a_factory_that_the_operator_did_not_allow(self, client):
        answer = client.post("/v1/finetunes", json={**FINETUNE_EXAMPLE, "architecture": {"factory": "evil.py:Net"}})
        assert answer.status_code == 422 and "MERGEFRONT_FACTORIES" in answer.text


class TestFollowed:
    def test_progress_and_result(self, house, client, asked):
        change(house, asked, lambda row: row.claimed("me", 1e12, row.created))
        change(house, asked, lambda row: row.with_event("finetune.epoch", row.created, {"epoch": 1, "held_out": 0.5}))
        row = change(house, asked, lambda row: row.finished("ckpt_1", "ds_1", {"report": 0.75}, row.created))
        found = client.get(f"/v1/finetunes/{asked['id']}").json()
        assert (found["status"], found["checkpoint"], found["head"], found["scores"]) == ("finished", "ckpt_1", "ds_1", {"report": 0.75})
        kinds = ["finetune.submitted", "finetune.running", "finetune.epoch", "finetune.finished"]
        assert [event.kind for event in row.events] == kinds
        assert followed(client, asked) == (200, kinds)
        assert followed(client, asked, headers={"Last-Event-ID": "2"}) == (200, kinds[2:])
        assert followed(client, asked, params={"after": 4}) == (204, [])

    def test_steps(self, house, client, asked):
        change(house, asked, lambda row: replace(row, progress=Progress(3, 40)))
        found = client.get(f"/v1/finetunes/{asked['id']}").json()
        assert (found["step"], found["steps"]) == (3, 40)

    def test_why_it_failed(self, house, client, asked):
        change(house, asked, lambda row: row.failed(Failure("measurement", "the loss is nan"), row.created))
        assert client.get(f"/v1/finetunes/{asked['id']}").json()["failure"] == {"code": "measurement", "message": "the loss is nan"}

    def test_an_event_that_is_no_number(self, client, asked):
        assert followed(client, asked, headers={"Last-Event-ID": "x"})[0] == 400


class TestCancelled:
    def test_once_and_again(self, client, asked):
        for _ in range(2):
            answer = client.post(f"/v1/finetunes/{asked['id']}/cancel")
            assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")

    def test_not_after_its_end(self, house, client, asked):
        change(house, asked, lambda row: row.finished("ckpt_1", "", {}, row.created))
        assert client.post(f"/v1/finetunes/{asked['id']}/cancel").status_code == 409
