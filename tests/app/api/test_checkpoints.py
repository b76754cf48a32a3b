"""Checkpoints and datasets: registered from uploads or from where they lie, looked through at the door, dropped."""

import json
import pickle
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save, save_file

from app.actions.localise import local_spec
from app.domain.errors import RefusedError
from app.domain.key import Scope
from checkpoints.adapter_metadata import AdapterMetadata, digest_tensors
from checkpoints.linearised import LinearisedAdapter

WEIGHTS = save({"weight": torch.ones(2, 2), "bias": torch.zeros(2)})
ADAPTER = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["proj"]}
CSV = b"text,label\ngood,1\nbad,0\n"
UNKNOWN = f"ckpt_{'0' * 26}"


def adapter(kind, base="0" * 64):
    """As our own training leaves one of a layer `proj`."""
    a = {"proj": torch.tensor([[0.5, -0.5]])}
    metadata = AdapterMetadata(kind, base, digest_tensors(a), 0)
    return LinearisedAdapter(metadata, 1, 1.0, a, {"proj": torch.ones(2, 1)})


@pytest.fixture
def upload(client):
    """Stores bytes and gives their digest."""

    def store(content):
        digest = sha256(content).hexdigest()
        assert client.put(f"/v1/blobs/{digest}", content=content).status_code in (200, 201)
        return digest

    return store


@pytest.fixture
def register(client, upload):
    """The answer to the registration of these files."""

    def post(kind="checkpoints", base=None, **files):
        named = {name.replace("__", "/"): upload(content) for name, content in files.items()}
        return client.post(f"/v1/{kind}", json={"files": named} | ({"base": base} if base else {}))

    return post


def faults(answer):
    assert answer.status_code == 422, answer.text
    return {(fault["where"], fault["problem"]) for fault in answer.json()["faults"]}


class TestRegister:
    def test_from_uploads(self, client, register):
        answer = register(**{"model.safetensors": WEIGHTS, "config.json": b"{}", "1_Pooling/config.json": b"{}"})
        assert answer.status_code == 201
        body = answer.json()
        assert (body["kind"], body["size"], body["reference"]) == ("full", len(WEIGHTS) + 4, None)
        assert sorted(body["files"]) == ["1_Pooling/config.json", "config.json", "model.safetensors"]
        assert answer.headers["location"] == f"/v1/checkpoints/{body['id']}"
        assert client.get(answer.headers["location"]).json() == body
        assert client.get("/v1/checkpoints").json() == {"items": [body], "next": None}

    def test_the_same_files_keep_their_id(self, register):
        first, second = (register(**{"model.safetensors": WEIGHTS}).json() for _ in range(2))
        other = register(**{"model.safetensors": WEIGHTS, "config.json": b"{}"}).json()
        assert first == second
        assert other["id"] != first["id"]

    def test_adapters_of_others_by_their_files(self, register):
        weights = save({"base_model.model.proj.lora_A.weight": torch.ones(1, 2), "base_model.model.proj.lora_B.weight": torch.ones(2, 1)})
        answer = register(**{"adapter_model.safetensors": weights, "adapter_config.json": json.dumps(ADAPTER).encode()})
        assert (answer.status_code, answer.json()["kind"]) == (201, "lora")

    @pytest.mark.parametrize(("trained", "kind"), [("lora", "lora"), ("llora", "lora"), ("tangent", "tangent")])
    def test_adapters_of_our_own_by_their_files(self, register, trained, kind):
        answer = register(**adapter(trained).files())
        assert (answer.status_code, answer.json()["kind"]) == (201, kind)

    @pytest.mark.parametrize("trained", ["llora", "tangent"])
    def test_refuses_an_adapter_of_another_start_than_it_names(self, register, trained):
        answer = register(**replace(adapter(trained), a={"proj": torch.ones(1, 2)}).files())
        assert {problem for _, problem in faults(answer)} == {
            "its factors A are not the start that its metadata names; only B may change in training"
        }

    def test_refuses_an_adapter_of_another_base(self, register):
        base, other = (
            register(**{"model.safetensors": save({"proj.weight": torch.full((2, 2), value)})}).json()["id"] for value in (1.0, 2.0)
        )
        digest = digest_tensors({"proj.weight": torch.full((2, 2), 1.0)})
        assert register(base=base, **adapter("llora", digest).files()).status_code == 201
        answer = register(base=other, **adapter("llora", digest).files())
        assert faults(answer) == {("base", "this adapter was trained on another base; its product means nothing here")}

    def test_pages(self, client, register):
        ids = [register(**{"model.safetensors": save({"weight": torch.full((2,), float(n))})}).json()["id"] for n in range(3)]
        first = client.get("/v1/checkpoints", params={"limit": 2}).json()
        rest = client.get("/v1/checkpoints", params={"limit": 2, "cursor": first["next"]}).json()
        assert sorted(ids) == [one["id"] for one in (*first["items"], *rest["items"])]
        assert rest["next"] is None

    @pytest.mark.parametrize(
        "body", [{}, {"files": {}}, {"files": {"a": "b"}}, {"files": {"a": "0" * 64}, "reference": "/x"}, {"kind": "full"}]
    )
    def test_refuses_what_is_no_registration(self, client, body):
        assert client.post("/v1/checkpoints", json=body).status_code == 422

    def test_tells_every_faulty_file_at_once(self, client, upload):
        digest, names = upload(WEIGHTS), ["../up", "a//b", ".hidden", "/root", "pytorch_model.bin", "model", "model/weights"]
        answer = client.post("/v1/checkpoints", json={"files": dict.fromkeys(names, digest) | {"model.safetensors": "0" * 64}})
        assert {where for where, _ in faults(answer)} == {
            "files.../up", "files.a//b", "files..hidden", "files./root", "files.pytorch_model.bin", "files.model",
            "files.model.safetensors",
        }  # fmt: skip

    def test_refuses_bytes_of_another_tenant(self, house, upload):
        stranger = house.client(Scope.WRITE, "other")
        answer = stranger.post("/v1/checkpoints", json={"files": {"model.safetensors": upload(WEIGHTS)}})
        assert {where for where, _ in faults(answer)} == {"files.model.safetensors"}

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("model.safetensors", pickle.dumps({"weight": [1.0]}, protocol=2), "pickle"),
            ("model.safetensors", WEIGHTS[:-1], "truncated"),
            ("model.safetensors", save({"weight": torch.tensor([1.0, float("nan")])}), "weight: 1 of 2 values are NaN or infinite"),
            ("config.json", b"{}", "holds no weights"),
            ("adapter_model.safetensors", WEIGHTS, "without adapter_config.json"),
        ],
    )
    def test_looks_through_the_weights(self, house, client, register, name, content, said):
        answer = register(**{name: content})
        problems = " ".join(problem for _, problem in faults(answer))
        assert said in problems
        assert str(house.service.settings.data) not in answer.text
        assert client.get("/v1/checkpoints").json()["items"] == []

    def test_holds_it_against_its_base(self, register):
        base = register(**{"model.safetensors": WEIGHTS}).json()["id"]
        fitting = save({"weight": torch.zeros(2, 2), "bias": torch.ones(2)})
        assert register(base=base, **{"model.safetensors": fitting}).status_code == 201
        answer = register(base=base, **{"model.safetensors": save({"weight": torch.zeros(3, 2)})})
        assert len(faults(answer)) == 2
        assert {where for where, _ in faults(answer)} == {"base"}
        assert {where for where, _ in faults(register(base=UNKNOWN, **{"model.safetensors": fitting}))} == {"base"}


class TestReference:
    def test_leads_to_where_the_files_lie(self, client, files):
        answer = client.post("/v1/checkpoints", json={"reference": f"{files}/base.safetensors"})
        assert (answer.status_code, answer.json()["reference"], answer.json()["files"]) == (201, f"{files}/base.safetensors", {})
        assert client.post("/v1/datasets", json={"reference": f"{files}/mnist-test.safetensors"}).status_code == 201

    @pytest.mark.parametrize("place", ["/etc", "{files}/../secret.safetensors", "{files}/link.safetensors", "relative"])
    def test_leads_nowhere_else(self, client, files, tmp_path, place):
        (tmp_path / "secret.safetensors").write_bytes(WEIGHTS)
        (files / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
        for kind in ("checkpoints", "datasets"):
            answer = client.post(f"/v1/{kind}", json={"reference": place.format(files=files)})
            assert {where for where, _ in faults(answer)} == {"reference"}

    def test_that_was_changed_is_found_out(self, house, client, files, example):
        registered = client.post("/v1/checkpoints", json={"reference": f"{files}/base.safetensors"}).json()["id"]
        study = house.study(client, models=example["models"] | {"base": registered})
        arguments = house.service.catalog, house.service.source, study
        assert local_spec(*arguments).models.base == f"{files}/base.safetensors"
        save_file({"weight": torch.zeros(2, 2)}, files / "base.safetensors")
        with pytest.raises(RefusedError, match="changed since"):
            local_spec(*arguments)


class TestDatasets:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("spam.csv", CSV),
            ("spam.jsonl", b'{"text": "good", "label": 1}\n'),
            ("mnist.safetensors", save({"inputs": torch.ones(3, 2), "targets": torch.zeros(3, dtype=torch.long)})),
            ("heads.safetensors", save({"mnist.weight": torch.ones(3, 2), "mnist.bias": torch.ones(3), "spam.weight": torch.ones(2, 2)})),
        ],
    )
    def test_are_registered(self, client, register, name, content):
        answer = register("datasets", **{name: content})
        assert (answer.status_code, answer.json()["size"], list(answer.json()["files"])) == (201, len(content), [name])
        assert client.get(answer.headers["location"]).json() == answer.json()
        assert client.get("/v1/datasets").json()["items"] == [answer.json()]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("spam.csv", b"words\nx\n"),
            ("spam.xlsx", CSV),
            ("spam.jsonl", b"{"),
            ("mnist.safetensors", WEIGHTS[:-1]),
            ("mnist.safetensors", save({"inputs": torch.tensor([[float("inf")]]), "targets": torch.zeros(1)})),
            ("heads.safetensors", save({"mnist.weight": torch.tensor([[float("nan")]])})),
        ],
    )
    def test_are_looked_through(self, house, register, name, content):
        answer = register("datasets", **{name: content})
        assert {where for where, _ in faults(answer)} == {"files"}
        assert str(house.service.settings.data) not in answer.text

    def test_are_one_file(self, register):
        answer = register("datasets", **{"a.csv": CSV, "b.csv": CSV + b"c,1\n"})
        assert {where for where, _ in faults(answer)} == {"files"}


class TestStudies:
    def test_name_what_is_registered(self, house, client, register, example):
        ids = [register(**{"model.safetensors": save({"weight": torch.full((2, 2), float(n))})}).json()["id"] for n in range(3)]
        data = register("datasets", **{"mnist.csv": CSV}).json()["id"]
        heads = register("datasets", **{"heads.safetensors": save({"mnist.weight": torch.ones(2, 2)})}).json()["id"]
        models = {"base": ids[0], "tuned": {"mnist": ids[1], "landsat": ids[2]}}
        tasks = example["tasks"] | {"mnist": {"data": data, "head": f"{heads}#mnist", "metric": "accuracy"}}
        study = house.study(client, models=models, tasks=tasks)
        assert study.digests["models.base"] == client.get(f"/v1/checkpoints/{ids[0]}").json()["digest"]
        spec = local_spec(house.service.catalog, house.service.source, study)
        assert spec.tasks[0].head.endswith("/heads.safetensors#mnist")

    def test_are_told_of_ids_that_are_not_there(self, client, example):
        models = {"base": UNKNOWN, "tuned": {"mnist": UNKNOWN, "landsat": "landsat.safetensors"}}
        tasks = {"mnist": {"data": f"ds_{'0' * 26}", "metric": "accuracy", "head": f"ds_{'1' * 26}#mnist"}}
        answer = client.post("/v1/studies", json=example | {"models": models, "tasks": tasks})
        assert faults(answer) == {
            ("models.base", f"no checkpoint {UNKNOWN}"), ("models.tuned.mnist", f"no checkpoint {UNKNOWN}"),
            ("tasks.mnist.data", f"no dataset ds_{'0' * 26}"), ("tasks.mnist.head", f"no dataset ds_{'1' * 26}"),
        }  # fmt: skip

    def test_need_a_base_of_full_weights(self, client, register, example):
        weights = save({"base_model.model.proj.lora_A.weight": torch.ones(1, 2), "base_model.model.proj.lora_B.weight": torch.ones(2, 1)})
        adapter = register(**{"adapter_model.safetensors": weights, "adapter_config.json": json.dumps(ADAPTER).encode()}).json()["id"]
        answer = client.post("/v1/studies", json=example | {"models": example["models"] | {"base": adapter}})
        assert {where for where, _ in faults(answer)} == {"models.base"}

    def test_keep_what_they_name_until_they_end(self, house, client, register, example):
        used = register(**{"model.safetensors": WEIGHTS}).json()["id"]
        data = register("datasets", **{"mnist.csv": CSV}).json()["id"]
        tasks = example["tasks"] | {"mnist": {"data": data, "metric": "accuracy"}}
        study = house.study(client, models=example["models"] | {"base": used}, tasks=tasks)
        for place in (f"/v1/checkpoints/{used}", f"/v1/datasets/{data}"):
            assert client.delete(place).status_code == 409
        client.post(f"/v1/studies/{study.id}/cancel")
        for place in (f"/v1/checkpoints/{used}", f"/v1/datasets/{data}"):
            assert client.delete(place).status_code == 204
            assert client.get(place).status_code == client.delete(place).status_code == 404


class TestQuota:
    def test_shrinks_with_what_is_dropped(self, make_house):
        house = make_house(quota_bytes=len(WEIGHTS) + 10)
        client = house.client(Scope.WRITE)
        digest = sha256(WEIGHTS).hexdigest()
        assert client.put(f"/v1/blobs/{digest}", content=WEIGHTS).status_code == 201
        place = client.post("/v1/checkpoints", json={"files": {"model.safetensors": digest}}).headers["location"]
        other = bytes(len(WEIGHTS))
        assert client.put(f"/v1/blobs/{sha256(other).hexdigest()}", content=other).status_code == 429
        in_use = client.delete(f"/v1/blobs/{digest}")
        assert (in_use.status_code, in_use.json()["code"]) == (409, "conflict")
        assert client.delete(place).status_code == 204
        assert client.delete(f"/v1/blobs/{digest}").status_code == client.delete("/v1/blobs/none").status_code == 404
        assert client.put(f"/v1/blobs/{sha256(other).hexdigest()}", content=other).status_code == 201


def test_another_tenants_are_not_there(house, register):
    place = register(**{"model.safetensors": WEIGHTS}).headers["location"]
    stranger = house.client(Scope.ADMIN, "other")
    assert stranger.get(place).status_code == stranger.delete(place).status_code == 404
    assert stranger.get("/v1/checkpoints").json()["items"] == []
