"""The one shape of errors, whoever raises them."""

import logging

import jsonschema
import pytest

from app.domain.errors import MergefrontError, UnavailableError
from app.domain.key import Scope

KEYS = ["type", "title", "status", "code", "detail", "faults"]


@pytest.fixture
def problem(house):
    return house.client().get("/openapi.json").json()["components"]["schemas"]["Problem"]


@pytest.fixture
def broken(house, monkeypatch):
    """A client of a service whose store raises `error` for every study."""

    def client(error):
        def raise_it(*_, **__):
            raise error

        monkeypatch.setattr(house.store, "studies", raise_it)
        return house.client(Scope.READ)

    return client


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("GET", "/v1/studies/nowhere", {}, 404, "not_found"),
        ("DELETE", "/v1/studies", {}, 405, "method_not_allowed"),
        ("GET", "/v1/studies?limit=0", {}, 422, "refused"),
        ("GET", "/v1/studies?limit=x", {}, 422, "refused"),
        ("POST", "/v1/studies", {"content": "{", "headers": {"Content-Type": "application/json"}}, 400, "malformed"),
        ("POST", "/v1/studies", {"content": "x", "headers": {"Content-Type": "text/plain"}}, 415, "media_type"),
        ("POST", "/v1/studies", {"json": {}}, 422, "manifest"),
    ],
)
def test_every_error_has_it(client, problem, method, path, options, status, code):
    answer = client.request(method, path, **options)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    body = answer.json()
    assert list(body) == KEYS
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:mergefront:problem:{code}")
    jsonschema.Draft202012Validator(problem | {"components": {"schemas": {}}, "$defs": {}}).validate(body | {"faults": []})


def test_a_validation_error_names_the_key(client):
    assert client.get("/v1/studies?limit=0").json()["faults"] == [
        {"where": "query.limit", "problem": "input should be greater than or equal to 1"}
    ]


def test_405_names_what_is_allowed(client):
    assert "GET" in client.delete("/v1/studies").headers["allow"]


def test_an_outage_says_when_to_come_again(broken):
    answer = broken(UnavailableError("the database does not serve")).get("/v1/studies")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "2")


@pytest.mark.parametrize("error", [RuntimeError("secret of the inside"), MergefrontError("secret of the inside")])
def test_a_defect_shows_nothing_of_the_inside_but_in_the_log(broken, error, caplog):
    with caplog.at_level(logging.ERROR):
        answer = broken(error).get("/v1/studies")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret" in caplog.text
