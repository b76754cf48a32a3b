"""Who may ask what: every call without a key, with the wrong scope, of a foreign tenant, and behind a foreign name."""

import hashlib
import re
from types import MappingProxyType

import pytest
import torch
from fastapi.routing import APIRoute, iter_route_contexts
from safetensors.torch import save_file

from app.api.auth import STREAM, scope_of
from app.api.manifests import FINETUNE_EXAMPLE
from app.api.problems import MEDIA_TYPE
from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import RefusedError
from app.domain.finetune import Finetune
from app.domain.key import Scope
from app.domain.merge import Merge
from app.domain.upload import Upload
from app.main import ROUTERS, check_closed

OPEN = {"/", "/explorer.css", "/explorer.js", "/healthz", "/readyz", "/openapi.json", "/docs", "/docs/start.js", "/docs/{asset}"}
NOWHERE = {"/docs/{asset}", "/hub/api/models/{reference}/{model}/tree/{revision}/{folder:path}"}
"""Calls that name nothing of anybody's, and one that lists folders, which no merge here has."""


def calls():
    routes = [context for router in ROUTERS for context in iter_route_contexts(router.routes)]
    for context in routes:
        route = getattr(context, "original_route", None) or context
        if isinstance(route, APIRoute):
            for method in sorted(route.methods):
                yield pytest.param(route, method, id=f"{method} {route.path}")


def ask(client, route, method, names=MappingProxyType({"reference": f"study_{'0' * 26}"})):
    path = re.sub(r"\{([^}:]+)(:[^}]+)?\}", lambda found: names.get(found[1], "0" * 26), route.path)
    return client.request(method, path, content=b"{}", headers={"Content-Type": "application/json"})


def belongings(house, client, files):
    """One of everything that a tenant can have, by the names that paths have for their ids."""
    for place, name in enumerate(("base", "mnist", "landsat")):
        save_file({"weight": torch.full((2, 2), 1.0).tril(place - 1)}, files / f"{name}.safetensors")
    study = house.study(client)
    house.finish(study)
    merge = client.post(f"/v1/studies/{study.id}/merges", json={"point": 1}).json()
    content = (files / "base.safetensors").read_bytes(), (files / "mnist-test.safetensors").read_bytes(), b"more to come"
    digests = [hashlib.sha256(one).hexdigest() for one in content]
    for one, digest in zip(content[:2], digests, strict=False):
        assert client.put(f"/v1/blobs/{digest}", content=one).status_code == 201
    finetune = client.post("/v1/finetunes", json=FINETUNE_EXAMPLE).json()
    assert client.post(f"/v1/finetunes/{finetune['id']}/cancel").status_code == 202  # its events would go on for ever
    return {
        "reference": study.id,
        "trial_id": house.store.trials(study.id)[0].id,
        "merge_id": merge["id"],
        "checkpoint_id": client.post("/v1/checkpoints", json={"files": {"model.safetensors": digests[0]}}).json()["id"],
        "dataset_id": client.post("/v1/datasets", json={"files": {"a.safetensors": digests[1]}}).json()["id"],
        "upload_id": client.post("/v1/uploads", json={"digest": digests[2], "size": 12}).json()["id"],
        "finetune_id": finetune["id"],
        "digest": digests[0],
        "model": "point-1",
        "revision": "main",
        "name": "README.md",
    }


def kept(house):
    """All that the service knows of its first tenant."""
    studies = house.store.studies(tenant="acme")
    records = [house.service.catalog.page(kind, "acme") for kind in (Checkpoint, Dataset, Finetune, Merge, Upload)]
    return studies, [house.store.trials(study.id) for study in studies], records


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
    def test_of_a_foreign_tenant(self, house, files, route, method):
        """What a stranger's id names is not there, and stays as it is; a request that is wrong in itself may be told so first."""
        owner, stranger = house.client(Scope.ADMIN), house.client(Scope.ADMIN, "other")
        names, before = belongings(house, owner, files), kept(house)
        answer = ask(stranger, route, method, names)
        assert answer.status_code in ((404,) if method in ("GET", "HEAD") else (400, 404, 409, 411, 415, 422))
        assert kept(house) == before
        if method in ("GET", "HEAD") and route.path not in NOWHERE:
            assert ask(owner, route, method, names).status_code < 300

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
