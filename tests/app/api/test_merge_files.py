"""The files of merges over HTTP: the bytes that writing to disk would give, whole and in ranges, and nothing computed beyond them."""

import base64
import hashlib
import json
import os
import time
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load, save, save_file

from checkpoints.combine import BLOCK, BlockMerger, Merge
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.pairing import Pairing
from checkpoints.stream import MergedFiles
from checkpoints.write import write_merge

SHARDS = {
    "model-00001-of-00002.safetensors": {"embed": (25, BLOCK), "tiny": (3,)},
    "model-00002-of-00002.safetensors": {"proj.weight": (70, 11), "odd": (5,)},
}
AT = [0.25, 0.5]
BASE, MNIST, LANDSAT = MODELS = ("base", "mnist", "landsat")


def write_sharded(root, seed):
    """Shards, their index, and what stands beside them."""
    root.mkdir()
    draw = torch.Generator().manual_seed(seed)
    for shard, shapes in SHARDS.items():
        save_file({name: torch.randn(shape, generator=draw).bfloat16() for name, shape in shapes.items()}, root / shard)
    weight_map = {name: shard for shard, shapes in SHARDS.items() for name in shapes}
    (root / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (root / "config.json").write_text('{"model_type": "none"}')
    (root / "1_Pooling").mkdir()
    (root / "1_Pooling" / "config.json").write_text("{}")


def write_adapter(root, seed):
    root.mkdir()
    draw = torch.Generator().manual_seed(seed)
    prefix = "base_model.model.proj"
    factors = {
        f"{prefix}.lora_A.weight": torch.randn(2, 11, generator=draw),
        f"{prefix}.lora_B.weight": torch.randn(70, 2, generator=draw),
    }
    save_file(factors, root / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["proj"], "base_model_name_or_path": "base"}
    (root / "adapter_config.json").write_text(json.dumps(config))


@pytest.fixture
def sharded(files):
    for seed, name in enumerate(MODELS):
        write_sharded(files / name, seed)
    return files


@pytest.fixture
def merge_of(house, client, sharded):
    """Asks for a merge of the sharded models, or of those named; gives its place."""

    def make(base=BASE, tuned=None, coefficients=AT, **changes):
        study = house.begin(house.study(client, models={"base": base, "tuned": tuned or {MNIST: MNIST, LANDSAT: LANDSAT}}, **changes))
        answer = client.post(f"/v1/studies/{study.id}/merges", json={"coefficients": coefficients})
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]

    return make


@pytest.fixture
def place(merge_of):
    return merge_of()


@pytest.fixture
def written(sharded, tmp_path):
    """The same merge on disk."""
    models = fit_model_set(open_layout(sharded / BASE), {name: open_layout(sharded / name) for name in (MNIST, LANDSAT)})
    coefficients = spread_coefficients(AT, group_tensors(models.sizes))
    write_merge(MergedFiles(Merge(models, coefficients)), tmp_path / "written")
    return tmp_path / "written"


def read(client, place, name, **headers):
    return client.get(f"{place}/files/{name}", headers={key.replace("_", "-"): value for key, value in headers.items()})


@pytest.fixture
def counted(monkeypatch):
    """The tensors of which blocks are computed."""
    seen, compute = [], BlockMerger.block

    def block(self, tensor, number, out=None):
        seen.append(tensor)
        return compute(self, tensor, number, out)

    monkeypatch.setattr(BlockMerger, "block", block)
    return seen


BIG = next(iter(SHARDS))


class TestFiles:
    def test_are_those_of_the_base_and_a_card(self, client, place, written):
        listed = client.get(f"{place}/files").json()
        sizes = {item["name"]: item["size"] for item in listed["items"]}
        on_disk = {str(path.relative_to(written)): path.stat().st_size for path in written.rglob("*") if path.is_file()}
        assert sizes == on_disk | {"README.md": sizes["README.md"]}
        assert listed["size"] == sum(sizes.values())
        assert {item["sha256"] for item in listed["items"]} == {None}

    def test_hold_what_writing_to_disk_gives(self, client, place, written):
        for item in client.get(f"{place}/files", params={"digest": "sha256"}).json()["items"]:
            answer = client.get(item["href"])
            assert answer.status_code == 200
            assert int(answer.headers["content-length"]) == len(answer.content) == item["size"]
            assert hashlib.sha256(answer.content).hexdigest() == item["sha256"]
            assert answer.headers["etag"] == f'"{item["etag"]}"'
            if item["name"] != "README.md":
                assert answer.content == (written / item["name"]).read_bytes()

    def test_tell_how_the_weights_came_about(self, client, place):
        card = read(client, place, "README.md")
        assert card.headers["content-type"] == "text/markdown; charset=utf-8"
        assert "--at 0.25,0.5" in card.text

    def test_that_are_not_there_are_told(self, client, place):
        answer = read(client, place, "../base/config.json")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_of_a_single_file_are_one(self, client, files, merge_of):
        for seed, name in enumerate(MODELS):
            save_file({"weight": torch.full((3,), float(seed))}, files / f"{name}.safetensors")
        place = merge_of("base.safetensors", {name: f"{name}.safetensors" for name in (MNIST, LANDSAT)}, coefficients=[1, 1])
        assert [item["name"] for item in client.get(f"{place}/files").json()["items"]] == ["base.safetensors", "README.md"]
        assert load(read(client, place, "base.safetensors").content)["weight"].tolist() == [3.0, 3.0, 3.0]

    def test_of_adapters_are_an_adapter(self, client, files, merge_of):
        for seed, name in enumerate(("left", "right"), 7):
            write_adapter(files / name, seed)
        place = merge_of(tuned={MNIST: "left", LANDSAT: "right"})
        names = [item["name"] for item in client.get(f"{place}/files").json()["items"]]
        assert names == ["adapter_config.json", "adapter_model.safetensors", "README.md"]
        config = read(client, place, "adapter_config.json").json()
        assert config["base_model_name_or_path"].endswith("/base")
        assert load(read(client, place, "adapter_model.safetensors").content)["base_model.model.proj.lora_A.weight"].shape == (4, 11)

    def test_of_a_transform_are_what_writing_gives(self, client, merge_of, written):
        plain = read(client, merge_of(), BIG).content
        ties = read(client, merge_of(transform={"ties": {"density": 0.5}}), BIG)
        assert ties.status_code == 200
        assert len(ties.content) == len(plain)
        assert ties.content != plain == (written / BIG).read_bytes()


class TestRanges:
    @pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 8), (100, 200_000), (1_000_000, 1_000_001), (1_500_000, 1_536_200)])
    def test_are_the_bytes_of_the_whole(self, client, place, written, begin, end):
        whole = (written / BIG).read_bytes()
        answer = read(client, place, BIG, Range=f"bytes={begin}-{end - 1}")
        end = min(end, len(whole))
        assert (answer.status_code, answer.content) == (206, whole[begin:end])
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(whole)}"

    def test_compute_only_what_they_touch(self, client, place, written, counted):
        last = (written / BIG).stat().st_size
        read(client, place, BIG, Range=f"bytes={last - 6}-{last - 1}")
        assert set(counted) == {"tiny"}
        counted.clear()
        read(client, place, BIG, Range="bytes=0-7")
        client.head(f"{place}/files/{BIG}")
        client.get(f"{place}/files")
        read(client, place, "config.json")
        assert counted == []

    def test_come_in_parts_where_there_are_several(self, client, place, written):
        whole = (written / BIG).read_bytes()
        answer = read(client, place, BIG, Range="bytes=5-9,1000-1999,-3")
        boundary = answer.headers["content-type"].removeprefix("multipart/byteranges; boundary=")
        parts = [part.split(b"\r\n\r\n", 1)[1] for part in answer.content.split(f"\r\n--{boundary}".encode())[1:-1]]
        assert answer.status_code == 206
        assert parts == [whole[5:10], whole[1000:2000], whole[-3:]]
        assert int(answer.headers["content-length"]) == len(answer.content)

    def test_beyond_the_end_are_told(self, client, place, written):
        answer = read(client, place, BIG, Range="bytes=99999999-")
        assert (answer.status_code, answer.json()["code"]) == (416, "range")
        assert answer.headers["content-range"] == f"bytes */{(written / BIG).stat().st_size}"

    def test_of_an_older_merge_are_not_mixed_in(self, client, merge_of):
        tag = client.head(f"{merge_of()}/files/{BIG}").headers["etag"]
        other = merge_of(coefficients=[0.5, 0.5])
        assert read(client, other, BIG, Range="bytes=0-9", If_Range=tag).status_code == 200
        assert read(client, other, BIG, Range="bytes=0-9", If_Range=client.head(f"{other}/files/{BIG}").headers["etag"]).status_code == 206


class TestHeaders:
    def test_of_head_are_those_of_get(self, client, place):
        got, told = read(client, place, BIG), client.head(f"{place}/files/{BIG}")
        assert told.content == b""
        assert {**told.headers} == {**got.headers}
        assert told.headers["accept-ranges"] == "bytes"

    def test_tag_spares_what_the_client_has(self, client, place):
        for name in (BIG, "config.json", "README.md"):
            answer = read(client, place, name)
            assert read(client, place, name, If_None_Match=answer.headers["etag"]).status_code == 304

    def test_tag_follows_from_inputs_and_coefficients(self, client, merge_of):
        tags = [read(client, merge_of(coefficients=at), BIG).headers["etag"] for at in (AT, AT, [0.25, 0.25])]
        assert tags[0] == tags[1] != tags[2]

    def test_digest_comes_where_it_is_wanted(self, client, place):
        answer = read(client, place, BIG, Want_Repr_Digest="sha-256=1", Range="bytes=0-99")
        whole = read(client, place, BIG)
        assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(whole.content).digest()).decode()}:"
        assert "repr-digest" not in whole.headers


class TestPairing:
    def test_of_other_names_than_the_bases_is_known_before_any_front(self, house, client, files):
        weight = torch.arange(4.0).reshape(2, 2)
        save_file({"weight": weight}, files / "base.safetensors")
        for step, name in enumerate((MNIST, LANDSAT), 1):
            save_file({"net.weight": weight + step}, files / f"{name}.safetensors")
        study = house.begin(house.study(client), Pairing(dict.fromkeys((MNIST, LANDSAT), {"net.weight": "weight"})))
        place = client.post(f"/v1/studies/{study.id}/merges", json={"coefficients": [0.5, 0.25]}).headers["location"]
        assert load(read(client, place, "base.safetensors").content)["weight"].equal(weight + 0.5 + 2 * 0.25)


class TestDroppedInputs:
    def test_are_told_and_the_study_stays(self, house, client, files):
        for seed, name in enumerate((MNIST, LANDSAT), 2):
            save_file({"weight": torch.full((2, 2), float(seed))}, files / f"{name}.safetensors")
        content = save({"weight": torch.ones(2, 2)})
        digest = sha256(content).hexdigest()
        client.put(f"/v1/blobs/{digest}", content=content)
        base = client.post("/v1/checkpoints", json={"files": {"model.safetensors": digest}}).json()["id"]
        tuned = {"mnist": "mnist.safetensors", "landsat": "landsat.safetensors"}
        study = house.study(client, models={"base": base, "tuned": tuned})
        house.finish(study)
        place = client.post(f"/v1/studies/{study.id}/merges", json={"point": 0}).headers["location"]
        assert read(client, place, "model.safetensors").status_code == 200
        assert client.delete(f"/v1/checkpoints/{base}").status_code == 204
        gone = read(client, place, "model.safetensors")
        assert (gone.status_code, gone.json()["code"]) == (410, "gone")
        assert base in gone.json()["detail"]
        assert client.get(f"/v1/studies/{study.id}/front").status_code == 200
        assert client.post(f"/v1/studies/{study.id}/extend", json={"trials": 3}).json()["code"] == "gone"
        assert house.service.catalog.held_bytes("acme") == 0


class TestChangedInputs:
    def test_are_told_and_not_merged(self, client, sharded, place):
        assert read(client, place, BIG).status_code == 200
        shard = sharded / MNIST / BIG
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
        os.utime(shard, ns=(time.time_ns(), time.time_ns() + 1_000_000_000))
        answer = read(client, place, BIG)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "models.tuned.mnist" in answer.json()["detail"]

    def test_written_again_as_they_were_are_the_same(self, client, sharded, place):
        shard = sharded / MNIST / BIG
        shard.write_bytes(shard.read_bytes())
        assert read(client, place, BIG).status_code == 200
