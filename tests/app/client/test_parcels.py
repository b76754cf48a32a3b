"""What travels with a manifest, and the manifest that is left."""

import json

import pytest

from app.client.parcels import address, pack
from app.domain.errors import RefusedError
from app.manifest.read import parse_manifest
from tests.app.manifest.test_read import document


@pytest.fixture
def spec(files):
    def make(**changes):
        models = {"base": "base.safetensors", "tuned": {"a": "mnist.safetensors", "b.c": "landsat.safetensors"}}
        tasks = {
            "one.two": {"data": "mnist-test.safetensors", "head": "base.safetensors#one", "metric": "accuracy"},
            "far": {"metric": {"external": {"name": "rating"}}},
        }
        made, faults = parse_manifest(document(models=models, tasks=tasks) | changes, files)
        assert not faults
        return made

    return make


class TestPack:
    def test_takes_every_file_once_a_key(self, spec, files):
        parcels = pack(spec())
        assert {key: parcel.kind for key, parcel in parcels.items()} == {
            "models.base": "checkpoints", "models.tuned.a": "checkpoints", "models.tuned.b.c": "checkpoints",
            "tasks.one.two.data": "datasets", "tasks.one.two.head": "datasets",
        }  # fmt: skip
        assert parcels["models.base"].files == {"base.safetensors": files / "base.safetensors"}

    def test_leaves_what_is_registered(self, spec):
        registered = "ckpt_" + "0" * 26
        parcels = pack(spec(models={"base": registered, "tuned": {"a": "mnist.safetensors", "b": registered}}))
        assert "models.base" not in parcels and "models.tuned.b" not in parcels

    def test_takes_a_directory_with_what_belongs_to_the_model(self, spec, files):
        folder = files / "model"
        (folder / "1_Pooling").mkdir(parents=True)
        (files / "base.safetensors").rename(folder / "model.safetensors")
        for name in ("config.json", "1_Pooling/config.json", "notes.log", "old.bin"):
            (folder / name).write_text(json.dumps({}))
        tasks = {"far": {"metric": {"external": {"name": "rating"}}}}
        models = {"base": "model", "tuned": {"a": "mnist.safetensors", "b": "landsat.safetensors"}}
        parcels = pack(spec(models=models, tasks=tasks))
        assert set(parcels["models.base"].files) == {"model.safetensors", "config.json", "1_Pooling/config.json"}

    def test_tells_everything_that_is_not_there(self, spec, files):
        for name in ("base", "mnist-test"):
            (files / f"{name}.safetensors").unlink()
        with pytest.raises(RefusedError) as refusal:
            pack(spec())
        assert {fault.where for fault in refusal.value.faults} == {"models.base", "tasks.one.two.data", "tasks.one.two.head"}


def test_ids_take_the_place_of_paths(spec, files):
    ids = {"models.base": "ckpt_1", "models.tuned.b.c": "ckpt_2", "tasks.one.two.data": "ds_1", "tasks.one.two.head": "ds_2"}
    given = {
        "architecture": {"factory": "net.py:Net"},
        "models": {"base": "x", "tuned": {"b.c": "y", "d": "z"}},
        "tasks": {"one.two": {"data": "u", "head": "v#one"}},
    }
    read = spec(architecture=given["architecture"])
    assert address(given, read, ids) == {
        "architecture": {"factory": f"{files.resolve()}/net.py:Net"},
        "models": {"base": "ckpt_1", "tuned": {"b.c": "ckpt_2", "d": "z"}},
        "tasks": {"one.two": {"data": "ds_1", "head": "ds_2#one"}},
    }
    assert given["models"]["base"] == "x" and given["architecture"]["factory"] == "net.py:Net"


def test_an_absolute_factory_stays_as_it_is(spec, files):
    given = {"architecture": {"factory": f"{files}/../{files.name}/net.py:Net"}}
    assert address(given, spec(**given), {}) == given
