"""Who may ask what: every call without a key, with the wrong scope, of a foreign tenant, and behind a foreign name."""

import re
from dataclasses import replace

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from app.api.auth import STREAM, scope_of
from app.api.problems import MEDIA_TYPE
from app.domain.errors import RefusedError
from app.domain.key import Scope
from app.main import ROUTERS, check_closed

OPEN = {"/", "/explorer.css", "/explorer.js", "/healthz", "/readyz", "/openapi.json", "/docs", "/docs/start.js", "/docs/{asset}"}
IDS = {"study_id": f"study_{'0' * 26}", "reference": f"study_{'0' * 26}"}


def calls():
    routes = [context for router in ROUTERS for context in iter_route_contexts(router.routes)]
    for context in routes:
        route = getattr(context, "original_route", None) or context
        if isinstance(route, APIRoute):
            for method in sorted(route.methods):
                yield pytest.param(route, method, id=f"{method} {route.path}")


def ask(client, route, method):
    path = re.sub(r"\{([^}:]+)(:[^}]+)?\}", lambda found: IDS.get(found[1], "0" * 26), route.path)
    return client.request(method, path, content=b"{}", headers={"Content-Type": "application/json"})


CALLS = list(calls())


class TestMatrix:
    @pytest.mark.parametrize(("route", "method"), CALLS)
    def test_without_a_key(self, house, route, method):
        house.client(Scope.ADMIN)
        answer = ask(house.client(), route, method)
        if route.path in OPEN:
            assert answer.status_code in (200, 404)
        else:
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(("route", "method"), CALLS)
    def test_with_an_unknown_key(self, house, route, method):
        client = house.client()
        client.headers["Authorization"] = "Bearer mf_unknown"
        assert ask(client, route, method).status_code == 401 or route.path in OPEN

    @pytest.mark.parametrize(("route", "method"), CALLS)
    def test_with_too_small_a_scope(self, house, route, method):
        needed = scope_of(route)
        for scope in Scope:
            answer = ask(house.client(scope), route, method)
            assert (answer.status_code == 403) == (route.path not in OPEN and not scope.covers(needed))

    @pytest.mark.parametrize(("route", "method"), [call for call in CALLS if "{" in call.values[0].path])
    def test_of_a_foreign_tenant(self, house, route, method):
        """What a stranger's id names is not there; a request that is wrong in itself may be told so first."""
        house.store.add_study(replace(house.study(house.client(Scope.WRITE)), id=IDS["reference"]))
        house.finish(house.store.study(IDS["reference"]))
        answer = ask(house.client(Scope.ADMIN, "other"), route, method)
        assert answer.status_code in ((404,) if method in ("GET", "HEAD") else (400, 404, 409, 411, 415, 422))

    @pytest.mark.parametrize(("route", "method"), CALLS)
    def test_errors_have_one_shape(self, house, route, method):
        answer = ask(house.client(Scope.ADMIN), route, method)
        assert answer.status_code < 500
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.headers["content-type"] == MEDIA_TYPE
            assert list(answer.json()) == ["type", "title", "status", "code", "detail", "faults"]


class TestKeys:
    @pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer  ", "mf_x"])
    def test_come_as_bearer(self, house, header):
        house.client(Scope.READ)
        answer = house.client().get("/v1/studies", headers={"Authorization": header})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")

    def test_are_looked_at_before_the_body(self, house):
        house.client(Scope.READ)
        assert house.client().post("/v1/studies", content=b"x" * (2 << 20)).status_code == 401

    def test_of_scope_read_may_choose(self, house, client):
        study = house.study(client)
        house.finish(study)
        assert house.client(Scope.READ).post(f"/v1/studies/{study.id}/choose", json={"knee": True}).status_code == 200


class TestClosedByDefault:
    def test_without_keys_this_machine_may_everything(self, house):
        assert house.client().get("/v1/studies").status_code == 200

    def test_with_a_key_nobody_may_without(self, house):
        house.client(Scope.READ)
        assert house.client().get("/v1/studies").status_code == 401

    def test_a_foreign_name_for_this_machine_is_nobody(self, house):
        assert house.client().get("/v1/studies", headers={"Host": "evil.example"}).status_code == 401

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
    def test_others_are_let_in_only_with_keys(self, make_house, host):
        house = make_house(host=host)
        with pytest.raises(RefusedError, match="key create"):
            check_closed(house.service)
        assert house.client().get("/v1/studies").status_code == 401
        house.client(Scope.READ)
        check_closed(house.service)

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
    def test_this_machine_is_let_in(self, make_house, host):
        check_closed(make_house(host=host).service)


def test_only_streams_escape_the_bound_of_bodies():
    streams = {route.values[0].path for route in CALLS if STREAM in (route.values[0].openapi_extra or {})}
    assert all("upload" in path or "result" in path or path == "/v1/blobs/{digest}" for path in streams)
