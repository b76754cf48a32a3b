"""Studies over HTTP: created once, refused whole, found, cancelled, extended."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml

from app.domain.key import Scope
from app.domain.request import KeyedRequest
from app.domain.study import StudyStatus
from app.jobs.port import Job

TUNED = {"mnist": "mnist.safetensors", "landsat": "landsat.safetensors"}
UNKNOWN = "study_00000000000000000000000000"


class TestCreate:
    def test_is_accepted_written_and_waked(self, house, client, example):
        answer = client.post("/v1/studies", json=example)
        assert answer.status_code == 202
        body = answer.json()
        assert answer.headers["location"] == f"/v1/studies/{body['id']}"
        assert (body["name"], body["status"], body["budget"]) == ("images-2", "submitted", 20)
        study = house.store.study(body["id"])
        assert study.tenant == "acme"
        assert sorted(study.digests) == [
            "architecture.factory", "models.base", "models.tuned.landsat", "models.tuned.mnist", "tasks.landsat.data", "tasks.mnist.data",
        ]  # fmt: skip
        assert house.jobs.sent == [Job("advance_study", study.id)]

    def test_takes_the_manifest_as_it_is_in_the_file(self, client, example):
        answer = client.post("/v1/studies", content=yaml.safe_dump(example), headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 202

    def test_is_accepted_while_the_broker_is_away(self, house, client, example):
        house.jobs.down = True
        answer = client.post("/v1/studies", json=example)
        assert answer.status_code == 202
        assert house.store.idle_studies() == (answer.json()["id"],)

    def test_tells_every_fault_with_its_key(self, client, example):
        wrong = example | {"tasks": {"mnist": {"data": "/etc/passwd", "metric": "acuracy"}}, "budgett": 3}
        answer = client.post("/v1/studies", json=wrong)
        assert answer.status_code == 422
        assert answer.json()["code"] == "manifest"
        assert {"tasks.mnist.metric", "budgett"} <= {fault["where"] for fault in answer.json()["faults"]}

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            ({"models": {"base": "/etc/passwd", "tuned": TUNED}}, "models.base"),
            ({"models": {"base": "../up", "tuned": TUNED}}, "models.base"),
            ({"models": {"base": f"ckpt_{'0' * 26}", "tuned": TUNED}}, "models.base"),
            ({"architecture": {"factory": "/usr/lib/python3/os.py:system"}}, "architecture.factory"),
            ({"architecture": {"factory": "net.py:Other"}}, "architecture.factory"),
        ],
    )
    def test_names_only_what_is_registered_or_allowed(self, house, client, example, change, key):
        answer = client.post("/v1/studies", json=example | change)
        assert answer.status_code == 422
        assert key in {fault["where"] for fault in answer.json()["faults"]}
        assert house.store.studies() == ()

    def test_follows_no_link_out_of_the_directory(self, client, example, files, tmp_path):
        (tmp_path / "secret.safetensors").write_bytes((files / "base.safetensors").read_bytes())
        (files / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
        answer = client.post("/v1/studies", json=example | {"models": example["models"] | {"base": "link.safetensors"}})
        assert answer.status_code == 422

    @pytest.mark.parametrize(
        ("content", "media", "status"),
        [
            (b"{", "application/json", 400),
            (b'{"name": NaN}', "application/json", 400),
            (b"\xff", "application/json", 400),
            (b"[" * 100_000, "application/json", 400),
            (b"a: &x [1]\nb: *x\n", "application/yaml", 400),
            (b"a: 1\na: 2\n", "application/yaml", 400),
            (b"? [1, 2]\n: 3\n", "application/yaml", 400),
            (b"[]", "application/json", 422),
            (b"{}", "text/plain", 415),
            (b"{}", "", 415),
            (b'{"a": "' + b"x" * (1 << 20) + b'"}', "application/json", 413),
        ],
    )
    def test_refuses_what_is_no_manifest(self, client, content, media, status):
        answer = client.post("/v1/studies", content=content, headers={"Content-Type": media})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


class TestIdempotency:
    @pytest.mark.parametrize("key", ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5"])
    def test_carries_the_same_request_out_once(self, house, client, example, key):
        answers = [client.post("/v1/studies", json=example, headers={"Idempotency-Key": key}) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == len(house.store.studies()) == 1

    @pytest.mark.parametrize("key", ["", '"', '"a', "a b", '""', "x" * 256, '"é"'])
    def test_refuses_malformed_keys(self, client, example, key):
        answer = client.post("/v1/studies", json=example, headers=[("Idempotency-Key", key.encode())])
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")

    def test_refuses_a_key_with_another_body(self, client, example):
        headers = {"Idempotency-Key": '"k"'}
        client.post("/v1/studies", json=example, headers=headers)
        answer = client.post("/v1/studies", json=example | {"name": "other"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")

    def test_says_when_the_first_is_under_way(self, house, client, example):
        headers = {"Idempotency-Key": '"k"'}
        fingerprint = self.fingerprint(house, client, example, headers)
        under_way = KeyedRequest("acme", "POST /v1/studies k2", fingerprint, datetime.now(UTC), UNKNOWN)
        house.service.catalog.begin_request(under_way, under_way.begun)
        answer = client.post("/v1/studies", json=example, headers={"Idempotency-Key": '"k2"'})
        assert (answer.status_code, answer.json()["code"]) == (409, "in_progress")

    def test_goes_on_where_a_server_died_after_writing(self, house, client, example):
        fingerprint = self.fingerprint(house, client, example, {"Idempotency-Key": '"k"'})
        study = house.store.studies()[0]
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        died = KeyedRequest("acme", "POST /v1/studies k3", fingerprint, long_ago, study.id)
        house.service.catalog.begin_request(died, long_ago)
        answer = client.post("/v1/studies", json=example, headers={"Idempotency-Key": '"k3"'})
        assert (answer.status_code, answer.json()["id"]) == (202, study.id)
        assert len(house.store.studies()) == 1

    def test_keeps_nothing_of_a_refusal(self, client, example):
        headers = {"Idempotency-Key": '"k"'}
        refused = client.post("/v1/studies", json=example | {"method": {"budget": 1}}, headers=headers)
        assert refused.status_code == 422
        assert client.post("/v1/studies", json=example, headers=headers).status_code == 202

    def fingerprint(self, house, client, example, headers):
        client.post("/v1/studies", json=example, headers=headers)
        now = datetime.now(UTC)
        kept = house.service.catalog.begin_request(KeyedRequest("acme", "POST /v1/studies k", "", now, "x"), now)
        return kept.fingerprint


class TestPut:
    def test_makes_one_and_finds_it_again(self, house, client, example):
        first, second = (client.put("/v1/studies/images-2", json=example) for _ in range(2))
        assert (first.status_code, second.status_code) == (202, 200)
        assert first.json()["id"] == second.json()["id"]

    def test_makes_another_where_the_last_came_to_nothing(self, house, client, example):
        first = client.put("/v1/studies/images-2", json=example).json()
        house.store.step_study(first["id"], StudyStatus.CANCELLED)
        second = client.put("/v1/studies/images-2", json=example)
        assert (second.status_code, second.json()["id"] != first["id"]) == (202, True)

    def test_refuses_another_wish_under_the_name(self, client, example):
        client.put("/v1/studies/images-2", json=example)
        answer = client.put("/v1/studies/images-2", json=example | {"method": {"budget": 30}})
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    def test_refuses_another_name(self, client, example):
        assert client.put("/v1/studies/else", json=example).status_code == 422


class TestRead:
    def test_by_id_and_by_name(self, house, client, example):
        study = house.study(client)
        house.measure(study, 2)
        by_id, by_name = client.get(f"/v1/studies/{study.id}"), client.get("/v1/studies/images-2")
        assert by_id.json() == by_name.json()
        assert by_id.json()["trials"] == {"proposed": 0, "measuring": 0, "offered": 0, "asked": 0, "finished": 2, "failed": 0}

    def test_pages(self, house, client):
        made = [house.study(client, name=f"s{place}").id for place in range(5)]
        seen, cursor = [], None
        while True:
            page = client.get("/v1/studies", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == sorted(made)

    @pytest.mark.parametrize("cursor", ["%", "###", "a", "/w=="])
    def test_refuses_cursors_of_its_own_making_only(self, client, cursor):
        assert client.get("/v1/studies", params={"cursor": cursor}).status_code == 422

    def test_is_not_sent_twice(self, house, client):
        study = house.study(client)
        etag = client.get(f"/v1/studies/{study.id}").headers["etag"]
        again = client.get(f"/v1/studies/{study.id}", headers={"If-None-Match": f'"x", W/{etag}'})
        assert (again.status_code, again.content) == (304, b"")
        house.measure(study, 1)
        assert client.get(f"/v1/studies/{study.id}", headers={"If-None-Match": etag}).status_code == 200

    def test_waits_for_the_end(self, house, client):
        study = house.study(client)
        house.finish(study)
        answer = client.get(f"/v1/studies/{study.id}", headers={"Prefer": "respond-async, wait=30"})
        assert (answer.json()["status"], answer.headers["preference-applied"]) == ("finished", "wait=30")

    def test_waits_no_longer_than_it_was_asked(self, house, client):
        study = house.study(client)
        assert client.get(f"/v1/studies/{study.id}", headers={"Prefer": "wait=1"}).json()["status"] == "submitted"


class TestCancel:
    def test_stops_and_wakes_for_the_front_so_far(self, house, client):
        study = house.study(client)
        house.measure(study, 1)
        answer = client.post(f"/v1/studies/{study.id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
        assert house.jobs.sent[-1] == Job("advance_study", study.id)
        assert client.post(f"/v1/studies/{study.id}/cancel").status_code == 202

    def test_comes_too_late_for_a_finished_one(self, house, client):
        study = house.study(client)
        house.finish(study)
        assert client.post(f"/v1/studies/{study.id}/cancel").status_code == 409


class TestExtend:
    def test_submits_the_finished_one_again(self, house, client):
        study = house.study(client)
        house.finish(study)
        answer = client.post(f"/v1/studies/{study.id}/extend", json={"trials": 7})
        assert answer.status_code == 202
        assert (answer.json()["revision"], answer.json()["budget"], answer.json()["status"]) == (1, 27, "submitted")
        assert house.jobs.sent[-1] == Job("advance_study", study.id)

    def test_needs_a_finished_one(self, house, client):
        study = house.study(client)
        assert client.post(f"/v1/studies/{study.id}/extend", json={"trials": 7}).status_code == 409

    @pytest.mark.parametrize("body", [{}, {"trials": 0}, {"trials": "7"}, {"trials": 7, "more": 1}, [], {"trials": 1.5}])
    def test_refuses_what_is_no_extension(self, house, client, body):
        study = house.study(client)
        assert client.post(f"/v1/studies/{study.id}/extend", json=body).status_code == 422


    def test_refuses_a_nested_one_whose_levels_are_done(self, house, client):
        study = house.study(client, method={"name": "nested", "budget": 12})
        house.finish(study)
        answer = client.post(f"/v1/studies/{study.id}/extend", json={"trials": 7})
        assert answer.status_code == 422
        assert "larger method.budget" in answer.text
        assert house.store.study(study.id).status is StudyStatus.FINISHED


def test_another_tenants_study_is_not_there(house, client):
    study = house.study(client)
    stranger = house.client(Scope.ADMIN, "other")
    for path in ("", "/trials", "/front", "/front.png", "/report", "/events"):
        foreign, unknown = stranger.get(f"/v1/studies/{study.id}{path}"), stranger.get(f"/v1/studies/{UNKNOWN}{path}")
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json() == json.loads(unknown.text.replace(UNKNOWN, study.id))
    assert stranger.get("/v1/studies/images-2").status_code == 404
    assert stranger.get("/v1/studies").json()["items"] == []
    house.store.add_study(replace(study, id=UNKNOWN, tenant="other"))
    assert [item["id"] for item in stranger.get("/v1/studies").json()["items"]] == [UNKNOWN]
