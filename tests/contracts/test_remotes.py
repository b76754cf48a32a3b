"""What every place gives whose files are read where they lie."""

from dataclasses import dataclass

import pytest

from app.blobs.hub_remote import HubRemote
from app.blobs.memory_remote import MemoryRemote
from app.blobs.remote import Remote
from app.blobs.s3 import connect
from app.blobs.s3_remote import S3Remote
from app.domain.errors import NotFoundError, RefusedError, UnavailableError
from tests.hub_server import COMMIT, REPOSITORY, hub_server

CONTENTS = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 100, "1_Pooling/config.json": b"[]", "empty.txt": b""}


@dataclass(frozen=True)
class Place:
    """A remote with CONTENTS at `reference`."""

    remote: Remote
    reference: str


def in_memory():
    return Place(MemoryRemote({f"mem://place/{name}": content for name, content in CONTENTS.items()}), "mem://place")


def in_bucket(url, name):
    client = connect(url)
    client.create_bucket(Bucket="models")
    for path, content in CONTENTS.items():
        client.put_object(Bucket="models", Key=f"{name}/minilm/{path}", Body=content)
    client.put_object(Bucket="models", Key=f"{name}/minilm-2/model.safetensors", Body=b"another")
    client.put_object(Bucket="models", Key=f"{name}/minilm/", Body=b"")
    return Place(S3Remote(connect(url)), f"s3://models/{name}/minilm")


@pytest.fixture(scope="module", params=["memory", "s3", "hub"])
def place(request):
    match request.param:
        case "memory":
            yield in_memory()
        case "s3":
            yield in_bucket(request.getfixturevalue("s3"), "all")
        case _:
            with hub_server(CONTENTS) as url:
                yield Place(HubRemote(url), f"hf://{REPOSITORY}@{COMMIT}")


def test_lists_what_lies_there(place):
    found = place.remote.files(place.reference)
    assert [(file.name, file.size) for file in found] == sorted((name, len(content)) for name, content in CONTENTS.items())
    assert place.remote.files(place.reference) == found


def test_tells_contents_apart(place):
    marks = {file.mark for file in place.remote.files(place.reference)}
    assert len(marks) == len(CONTENTS)


@pytest.mark.parametrize("size", [1, 8, 1000, 10**6])
def test_reads_beginnings(place, size):
    for file in place.remote.files(place.reference):
        assert place.remote.read(place.reference, file, size) == CONTENTS[file.name][:size]


def test_fetches_files_whole(place, tmp_path):
    for file in place.remote.files(place.reference):
        place.remote.fetch(place.reference, file, tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == CONTENTS[file.name]


@pytest.mark.parametrize("name", ["model.safetensors", "1_Pooling/config.json"])
def test_takes_references_to_one_file(place, tmp_path, name):
    [file] = place.remote.files(f"{place.reference}/{name}")
    place.remote.fetch(f"{place.reference}/{name}", file, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == CONTENTS[name]


def test_says_where_there_is_nothing(place):
    with pytest.raises(NotFoundError):
        place.remote.files(f"{place.reference}/absent")


class TestS3:
    def test_gives_no_other_content_than_was_listed(self, s3, tmp_path):
        place = in_bucket(s3, tmp_path.name)
        [file] = place.remote.files(f"{place.reference}/config.json")
        connect(s3).put_object(Bucket="models", Key=f"{tmp_path.name}/minilm/config.json", Body=b"[]")
        with pytest.raises(UnavailableError):
            place.remote.fetch(f"{place.reference}/config.json", file, tmp_path / "fetched")


class TestHub:
    @pytest.mark.parametrize("reference", ["hf://org/name", "hf://org/name@main", f"hf://a/b/c@{COMMIT}", f"hf://@{COMMIT}"])
    def test_needs_a_commit(self, reference):
        with pytest.raises(RefusedError, match="COMMIT"):
            HubRemote().files(reference)

    def test_that_is_not_there_is_unavailable(self):
        with pytest.raises(UnavailableError):
            HubRemote("http://127.0.0.1:9").files(f"hf://org/name@{COMMIT}")

    def test_knows_no_other_repository(self):
        with hub_server(CONTENTS) as url, pytest.raises(NotFoundError):
            HubRemote(url).files(f"hf://org/other@{COMMIT}")
