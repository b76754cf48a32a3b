"""Files on their way to a service: only what it lacks, and through any break."""

import hashlib

import pytest

from app.client import upload as sending
from app.client.parcels import Parcel
from app.client.upload import missing_files, register, upload
from app.domain.errors import RefusedError, UnavailableError

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(sending, "PIECE", 1000)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    return path


DIGEST = hashlib.sha256(CONTENT).hexdigest()


class TestUpload:
    def test_brings_every_byte(self, house, service, file):
        sent = []
        upload(service, DIGEST, file, sent.append)
        assert house.service.blobs.get(DIGEST) == CONTENT and sum(sent) == len(CONTENT)

    def test_sends_nothing_twice(self, service, file):
        upload(service, DIGEST, file, lambda count: None)
        sent = []
        upload(service, DIGEST, file, sent.append)
        assert sent == []

    @pytest.mark.parametrize("cut", ["before", "after"])
    @pytest.mark.parametrize("number", [1, 2, 5, 12, 13])
    def test_goes_on_after_a_break(self, house, service, broken, file, number, cut):
        broken(**{f"n{number}": cut})
        sent = []
        upload(service, DIGEST, file, sent.append)
        assert house.service.blobs.get(DIGEST) == CONTENT
        assert len(CONTENT) - 1000 <= sum(sent) <= len(CONTENT)

    def test_gives_up_on_what_stays_away(self, service, broken, file):
        broken(**{f"n{number}": "before" for number in range(1, 20)})
        with pytest.raises(UnavailableError, match="cannot be reached"):
            upload(service, DIGEST, file, lambda count: None)

    def test_of_a_file_that_changed_is_refused(self, service, file):
        file.write_bytes(CONTENT[::-1])
        with pytest.raises(RefusedError):
            upload(service, DIGEST, file, lambda count: None)


class TestMissingFiles:
    def test_are_those_that_were_not_given(self, service, file):
        parcel = Parcel("tasks.a.data", "datasets", {"a.csv": file}, {"a.csv": DIGEST})
        assert missing_files(service, [parcel]) == {DIGEST: file}
        upload(service, DIGEST, file, lambda count: None)
        assert missing_files(service, [parcel]) == {}


class TestRegister:
    def test_gives_one_id_to_one_content(self, service, files):
        data = files / "mnist-test.safetensors"
        digest = hashlib.sha256(data.read_bytes()).hexdigest()
        upload(service, digest, data, lambda count: None)
        parcels = {key: Parcel(key, "datasets", {"a.safetensors": data}, {"a.safetensors": digest}) for key in ("one", "two")}
        ids = register(service, parcels)
        assert ids["one"] == ids["two"] and ids["one"].startswith("ds_")

    def test_tells_what_is_wrong_by_key(self, service, file):
        upload(service, DIGEST, file, lambda count: None)
        parcels = {key: Parcel(key, kind, {"a.safetensors": file}, {"a.safetensors": DIGEST})
                   for key, kind in (("models.base", "checkpoints"), ("tasks.a.data", "datasets"))}  # fmt: skip
        with pytest.raises(RefusedError) as refusal:
            register(service, parcels)
        assert {fault.where for fault in refusal.value.faults} == {"models.base", "tasks.a.data"}
