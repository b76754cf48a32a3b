"""What lies elsewhere: registered without being copied, read by whoever works with it, refused once it was changed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from app.actions.localise import Source, local_spec
from app.actions.register import Given, Registry, register_checkpoint, register_dataset
from app.blobs.cache import Cache
from app.blobs.memory import MemoryBlobs
from app.blobs.memory_remote import MemoryRemote
from app.blobs.remote import Remotes
from app.domain.checkpoint import Checkpoint
from app.domain.errors import RefusedError
from app.domain.study import ModelSetSpec, Study, StudySpec, StudyStatus, TransformersArchitecture
from app.domain.task import SplitShares, TaskSpec
from app.store.memory_catalog import MemoryCatalog

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WEIGHTS = save({"weight": torch.ones(100, 100)})
CONTENTS = {
    "mem://base/model.safetensors": WEIGHTS, "mem://base/config.json": b"{}", "mem://base/.git/config": b"", "mem://base/model.onnx": b"x",
    "mem://base/old/model.safetensors": b"x", "mem://broken/model.safetensors": WEIGHTS[:-1],
    "mem://pickle/model.safetensors": b"\x80\x02}",
    "mem://nan/model.safetensors": save({"weight": torch.tensor([float("nan")])}), "mem://none/config.json": b"{}",
    "mem://up/../model.safetensors": WEIGHTS, "mem://data/spam.csv": b"text,label\na,1\n", "mem://two/a.csv": b"x", "mem://two/b.csv": b"x",
}  # fmt: skip


class Counted(MemoryRemote):
    """Knows how many bytes were read from it."""

    count = 0

    def read(self, reference, file, size):
        content = super().read(reference, file, size)
        self.count += len(content)
        return content

    def fetch(self, reference, file, path):
        super().fetch(reference, file, path)
        self.count += file.size


@pytest.fixture
def remote():
    return Counted(CONTENTS)


@pytest.fixture
def registry(remote, tmp_path):
    return registry_of(remote, tmp_path)


def registry_of(remote, folder):
    remotes = Remotes({"mem://": remote}, Cache(folder / "cache", 1 << 30))
    return Registry(MemoryCatalog(), Source(MemoryBlobs(folder), folder / "local", remotes))


def given(reference):
    return Given({}, reference)


def local_base(registry, base, data="/data.csv"):
    task = TaskSpec("spam", data, "accuracy", SplitShares())
    spec = StudySpec("s", ModelSetSpec(base, {}), TransformersArchitecture("AutoModel"), (task,))
    return local_spec(registry.catalog, registry.source, Study("study_1", spec, StudyStatus.RUNNING, NOW, NOW, tenant="acme"))


class TestRegister:
    def test_reads_no_more_than_headers_and_settings(self, registry, remote):
        found = register_checkpoint(registry, "acme", given("mem://base"))
        assert (found.kind, found.reference, sorted(found.files)) == ("full", "mem://base", ["config.json", "model.safetensors"])
        assert found.size == len(WEIGHTS) + 2
        assert remote.count < 500

    def test_the_same_keep_their_id(self, registry):
        assert len({register_checkpoint(registry, "acme", given("mem://base")).id for _ in range(2)}) == 1

    @pytest.mark.parametrize("place", ["broken", "pickle", "none", "absent", "up"])
    def test_refuses_what_is_no_checkpoint(self, registry, place):
        with pytest.raises(RefusedError) as refused:
            register_checkpoint(registry, "acme", given(f"mem://{place}"))
        assert {fault.where for fault in refused.value.faults} == {"reference"}
        assert registry.catalog.page(Checkpoint, "acme") == ()

    def test_takes_one_file_of_data(self, registry):
        assert list(register_dataset(registry, "acme", given("mem://data/spam.csv")).files) == ["spam.csv"]
        for place in ("mem://two", "mem://base/config.json", "mem://absent"):
            with pytest.raises(RefusedError):
                register_dataset(registry, "acme", given(place))

    @pytest.mark.parametrize("reference", ["s3://bucket/key", "hf://org/name", "mem:/base", "://", "http://127.0.0.1/"])
    def test_goes_only_where_the_operator_allows(self, registry, reference):
        for register in (register_checkpoint, register_dataset):
            with pytest.raises(RefusedError, match="the operator allows no files there|leads nowhere"):
                register(registry, "acme", given(reference))


    @pytest.mark.parametrize(
        ("reference", "allowed"), [("mem://base", True), ("mem://base/model.safetensors", True), ("mem://bases", False)]
    )
    def test_goes_below_a_prefix_and_not_beside_it(self, remote, tmp_path, reference, allowed):
        remotes = Remotes({"mem://base/": remote}, Cache(tmp_path, 0))
        if allowed:
            assert remotes.of(reference) is remote
        else:
            with pytest.raises(RefusedError):
                remotes.of(reference)


class TestLocalise:
    def test_brings_the_files_once(self, registry, remote):
        base = register_checkpoint(registry, "acme", given("mem://base")).id
        data = register_dataset(registry, "acme", given("mem://data")).id
        spec = local_base(registry, base, data)
        assert (Path(spec.models.base) / "model.safetensors").read_bytes() == WEIGHTS
        assert Path(spec.tasks[0].data).read_bytes() == CONTENTS["mem://data/spam.csv"]
        count = remote.count
        assert local_base(registry, base, data) == spec
        assert remote.count == count

    def test_refuses_what_was_changed_since(self, registry, remote):
        base = register_checkpoint(registry, "acme", given("mem://base")).id
        remote.contents["mem://base/model.safetensors"] = save({"weight": torch.zeros(100, 100)})
        with pytest.raises(RefusedError, match="changed since"):
            local_base(registry, base)

    def test_refuses_values_that_are_not_finite(self, registry):
        base = register_checkpoint(registry, "acme", given("mem://nan")).id
        for _ in range(2):
            with pytest.raises(RefusedError, match="NaN"):
                local_base(registry, base)
