"""Merges as the hub's clients see them, call by call."""

import pytest
import torch
from safetensors.torch import save_file

from app.domain.key import Scope
from tests.app.api.test_merge_files import write_sharded

MODELS = ("base", "mnist", "landsat")


@pytest.fixture
def study(house, client, files):
    for seed, name in enumerate(MODELS):
        write_sharded(files / name, seed)
    made = house.study(client, models={"base": "base", "tuned": {"mnist": "mnist", "landsat": "landsat"}})
    house.finish(made)
    return made


@pytest.fixture
def sha(client, study):
    return client.get("/hub/api/models/images-2/point-1").json()["sha"]


class TestModel:
    def test_lists_its_files(self, client, study):
        model = client.get("/hub/api/models/images-2/point-1").json()
        assert model["id"] == "images-2/point-1"
        assert {"rfilename": "config.json"} in model["siblings"]
        assert {"rfilename": "model-00001-of-00002.safetensors"} in model["siblings"]

    def test_goes_by_the_study_s_id_too(self, client, study, sha):
        assert client.get(f"/hub/api/models/{study.id}/point-1").json()["sha"] == sha

    def test_has_a_commit_that_follows_from_its_bytes(self, client, study, sha):
        assert len(sha) == 40
        assert client.get("/hub/api/models/images-2/point-1/revision/main").json()["sha"] == sha
        assert client.get(f"/hub/api/models/images-2/point-1/revision/{sha}").json()["sha"] == sha
        assert client.get("/hub/api/models/images-2/point-2").json()["sha"] != sha

    def test_can_be_a_merge_that_was_asked_for(self, client, study):
        merge = client.post("/v1/studies/images-2/merges", json={"coefficients": [1, 0]}).json()
        tuned = client.get(f"/hub/{merge['links']['hub']}/resolve/main/model-00002-of-00002.safetensors").content
        assert client.get("/hub/images-2/base/resolve/main/model-00002-of-00002.safetensors").content != tuned

    def test_can_be_the_base(self, client, study, files):
        for name in ("model-00001-of-00002.safetensors", "config.json"):
            assert client.get(f"/hub/images-2/base/resolve/main/{name}").content == (files / "base" / name).read_bytes()


class TestTree:
    def test_holds_every_file_where_it_is_asked_for_all(self, client, study, sha):
        tree = client.get(f"/hub/api/models/images-2/point-1/tree/{sha}", params={"recursive": True}).json()
        sizes = {entry["path"]: entry["size"] for entry in tree if entry["type"] == "file"}
        for name, size in sizes.items():
            assert len(client.get(f"/hub/images-2/point-1/resolve/{sha}/{name}").content) == size
        assert "1_Pooling/config.json" in sizes

    def test_holds_folders_where_not(self, client, study):
        tree = client.get("/hub/api/models/images-2/point-1/tree/main").json()
        assert [entry["path"] for entry in tree if entry["type"] == "directory"] == ["1_Pooling"]
        assert [entry["path"] for entry in client.get("/hub/api/models/images-2/point-1/tree/main/1_Pooling").json()] == [
            "1_Pooling/config.json"
        ]


class TestFile:
    def test_tells_commit_tag_and_size(self, client, study, sha):
        told = client.head("/hub/images-2/point-1/resolve/main/config.json")
        assert told.headers["x-repo-commit"] == sha
        assert told.headers["content-length"] == "22"
        assert told.headers["etag"] == client.get(f"/hub/images-2/point-1/resolve/{sha}/config.json").headers["etag"]


class TestMissing:
    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("images-2/point-9/resolve/main/config.json", "RepoNotFound"), ("images-2/other/resolve/main/config.json", "RepoNotFound"),
            ("other/point-1/resolve/main/config.json", "RepoNotFound"), ("api/models/other/point-1", "RepoNotFound"),
            ("images-2/point-1/resolve/other/config.json", "RevisionNotFound"),
            ("api/models/images-2/point-1/tree/old", "RevisionNotFound"),
            ("images-2/point-1/resolve/main/adapter_config.json", "EntryNotFound"),
            ("api/models/images-2/point-1/tree/main/x", "EntryNotFound"),
        ],
    )  # fmt: skip
    def test_is_told_in_the_hub_s_words(self, client, study, path, code):
        answer = client.get(f"/hub/{path}")
        assert (answer.status_code, answer.headers["x-error-code"], answer.json()["code"]) == (404, code, "not_found")

    def test_of_another_tenant_is_not_there(self, house, study):
        assert house.client(Scope.ADMIN, "other").get(f"/hub/api/models/{study.id}/point-1").headers["x-error-code"] == "RepoNotFound"

    def test_merge_of_another_study_is_not_there(self, house, client, study, files):
        save_file({"weight": torch.zeros(2, 2)}, files / "base.safetensors")
        other = house.begin(house.study(client, name="images-3"))
        merge = client.post(f"/v1/studies/{other.id}/merges", json={"coefficients": [1, 0]}).json()["id"]
        assert client.get(f"/hub/api/models/images-2/{merge}").status_code == 404
