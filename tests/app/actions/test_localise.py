"""A study's registered inputs, laid out as files of this machine."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from app.actions.localise import Source, local_spec
from app.blobs.local import open_blobs
from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import NotFoundError
from app.domain.study import ModelSetSpec, Study, StudySpec, StudyStatus, TransformersArchitecture
from app.domain.task import SplitShares, TaskSpec
from app.store.memory_catalog import MemoryCatalog

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BASE, TUNED, HEADS = (f"ckpt_{letter * 26}" for letter in "abc")
WEIGHTS = save({"spam.weight": torch.ones(2, 2)})
DATA = f"ds_{'d' * 26}"


@pytest.fixture
def blobs(tmp_path):
    return open_blobs(tmp_path / "blobs")


@pytest.fixture
def catalog(blobs):
    made = MemoryCatalog()
    contents = {
        BASE: {"config.json": b"{}", "model.safetensors": b"base", "1_Pooling/config.json": b"[]"},
        TUNED: {"model.safetensors": b"tuned"},
        HEADS: {"README.txt": b"heads", "heads.safetensors": WEIGHTS},
    }
    for name, files in contents.items():
        made.add(Checkpoint(name, "acme", "full", "0" * 64, 9, NOW, {path: blobs.put(content) for path, content in files.items()}))
    made.add(Dataset(DATA, "acme", "0" * 64, 9, NOW, {"spam.jsonl": blobs.put(b"data")}))
    return made


def study_of(models, *tasks, tenant="acme"):
    spec = StudySpec("s", models, TransformersArchitecture("AutoModel"), tasks)
    return Study("study_1", spec, StudyStatus.RUNNING, NOW, NOW, tenant=tenant)


REGISTERED = study_of(
    ModelSetSpec(BASE, {"spam": TUNED, "movie": "/models/movie"}),
    TaskSpec("spam", DATA, "accuracy", SplitShares(), head=f"{HEADS}#spam"),
    TaskSpec("movie", "/data/movie.csv", "accuracy", SplitShares()),
)


def test_names_directories_of_checkpoints_and_files_of_data(catalog, blobs, tmp_path):
    spec = local_spec(catalog, Source(blobs, tmp_path / "local"), REGISTERED)
    base = Path(spec.models.base)
    found = {path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()}
    assert found == {"config.json": b"{}", "model.safetensors": b"base", "1_Pooling/config.json": b"[]"}
    assert (Path(spec.models.tuned["spam"]) / "model.safetensors").read_bytes() == b"tuned"
    spam, movie = spec.tasks
    assert (Path(spam.data).name, Path(spam.data).read_bytes()) == ("spam.jsonl", b"data")
    head, _, name = spam.head.partition("#")
    assert (Path(head).name, Path(head).read_bytes(), name) == ("heads.safetensors", WEIGHTS, "spam")
    assert (spec.models.tuned["movie"], movie.data, movie.head) == ("/models/movie", "/data/movie.csv", None)


def test_is_the_same_again_and_mends_what_was_let_go(catalog, blobs, tmp_path):
    first = local_spec(catalog, Source(blobs, tmp_path / "local"), REGISTERED)
    for link in (tmp_path / "local").rglob("model.safetensors"):
        link.unlink()
        link.symlink_to(tmp_path / "gone")
    assert local_spec(catalog, Source(blobs, tmp_path / "local"), REGISTERED) == first
    assert all(link.read_bytes() in (b"base", b"tuned") for link in (tmp_path / "local").rglob("model.safetensors"))


def test_may_be_done_by_many_at_once(catalog, blobs, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        specs = list(pool.map(lambda _: local_spec(catalog, Source(blobs, tmp_path / "local"), REGISTERED), range(24)))
    assert specs.count(specs[0]) == 24


def test_knows_nothing_of_another_tenants(catalog, blobs, tmp_path):
    with pytest.raises(NotFoundError, match=BASE):
        local_spec(catalog, Source(blobs, tmp_path / "local"), study_of(REGISTERED.spec.models, tenant="other"))
