"""Merges over HTTP: asked for, listed, forgotten."""

import pytest

from app.domain.key import Scope


@pytest.fixture
def study(house, client):
    made = house.study(client)
    house.finish(made)
    return house.store.study(made.id)


def ask(client, study, **wish):
    return client.post(f"/v1/studies/{study.id}/merges", json=wish)


class TestAsk:
    def test_by_a_point(self, client, study):
        answer = ask(client, study, point=1)
        merge = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/merges/{merge['id']}" == merge["links"]["self"]
        assert (merge["point"], merge["coefficients"]) == (1, [0.5, 0.5])
        assert merge["report"] == {"mnist": 0.5, "landsat": 0.5}
        assert client.get(answer.headers["location"]).json() == merge

    def test_by_coefficients(self, client, study):
        merge = ask(client, study, coefficients=[0.25, -1]).json()
        assert (merge["point"], merge["coefficients"], merge["predicted"]) == (None, [0.25, -1.0], {})

    @pytest.mark.parametrize(
        "wish",
        [
            {"weights": {"mnist": 1}}, {"knee": True}, {"target": {"mnist": 0.7, "landsat": 0.3}},
            {"maximize": "landsat", "constraints": [{"task": "mnist", "at_least": 0.25}]},
        ],
    )  # fmt: skip
    def test_by_a_choice(self, client, study, wish):
        merge, chosen = ask(client, study, **wish).json(), client.post(f"/v1/studies/{study.id}/choose", json=wish).json()
        assert (merge["coefficients"], merge["predicted"]) == (chosen["coefficients"], chosen["predicted"])

    def test_by_coefficients_needs_no_front(self, house, client):
        study = house.begin(house.study(client))
        assert ask(client, study, coefficients=[0.5, 0.5]).status_code == 201
        assert ask(client, study, point=0).status_code == 404

    def test_by_coefficients_comes_once_the_checkpoints_are_paired(self, house, client):
        study = house.study(client)
        early = ask(client, study, coefficients=[0.5, 0.5])
        assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "not_ready", "2")
        client.post(f"/v1/studies/{study.id}/cancel")
        never = ask(client, study, coefficients=[0.5, 0.5])
        assert (never.status_code, never.json()["code"], "retry-after" in never.headers) == (409, "conflict", False)

    @pytest.mark.parametrize(
        ("wish", "status"),
        [
            ({}, 422), ({"point": 1, "knee": True}, 422), ({"point": 1, "constraints": [{"task": "mnist", "at_least": 0}]}, 422),
            ({"point": -1}, 422), ({"point": 3}, 404), ({"coefficients": [1.0]}, 422), ({"coefficients": ["1", 2]}, 422),
            ({"weights": {"other": 1.0}}, 422), ({"knee": True, "constraints": [{"task": "mnist", "at_least": 2}]}, 422),
        ],
    )  # fmt: skip
    def test_refuses_what_names_no_merge(self, client, study, wish, status):
        assert ask(client, study, **wish).status_code == status

    def test_the_same_again_is_the_same(self, client, study):
        first, again = ask(client, study, point=1), ask(client, study, point=1)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()

    def test_the_digest_says_which_weights(self, client, study):
        point = ask(client, study, point=1).json()
        same, other = ask(client, study, coefficients=[0.5, 0.5]).json(), ask(client, study, coefficients=[0.5, 0.25]).json()
        assert point["id"] != same["id"]
        assert point["digest"] == same["digest"] != other["digest"]

    def test_needs_more_than_reading(self, house, client, study):
        assert ask(house.client(Scope.READ), study, point=1).status_code == 403


class TestList:
    def test_comes_in_pages_of_one_study(self, house, client, study):
        other = house.study(client)
        house.finish(other)
        made = []
        for number in range(3):
            made.append(ask(client, study, point=number).json()["id"])
            ask(client, other, point=number)
        first = client.get(f"/v1/studies/{study.id}/merges", params={"limit": 2}).json()
        rest = client.get(f"/v1/studies/{study.id}/merges", params={"limit": 2, "cursor": first["next"]}).json()
        assert sorted(merge["id"] for merge in first["items"] + rest["items"]) == sorted(made)
        assert (len(first["items"]), rest["next"]) == (2, None)

    def test_of_a_forgotten_merge_knows_nothing(self, client, study):
        place = ask(client, study, point=1).headers["location"]
        assert client.delete(place).status_code == 204
        assert client.get(place).status_code == client.delete(place).status_code == client.get(f"{place}/files").status_code == 404
        assert client.get(f"/v1/studies/{study.id}/merges").json()["items"] == []
        assert ask(client, study, point=1).status_code == 201
