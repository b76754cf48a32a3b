"""Uploads over HTTP: announced, sent, gone on with, refused."""

import fcntl
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from app.blobs import incoming
from app.domain.key import Scope
from app.domain.upload import Holding, Upload

CONTENT = bytes(range(256)) * 20
DIGEST = sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
ANNOUNCED = {"digest": DIGEST, "size": SIZE}


@pytest.fixture
def place(client):
    """Where the announced bytes are to be sent."""
    return client.post("/v1/uploads", json=ANNOUNCED).headers["location"]


def patch(client, place, offset, content):
    return client.patch(place, content=content, headers={"Upload-Offset": str(offset)})


def used(house):
    return house.service.catalog.held_bytes("acme")


class TestAnnounce:
    def test_says_where_to_send_and_from_where(self, client):
        answer = client.post("/v1/uploads", json=ANNOUNCED)
        assert answer.status_code == 201
        assert answer.headers["upload-offset"] == "0"
        assert answer.json() == {"id": answer.headers["location"].rpartition("/")[2], **ANNOUNCED, "offset": 0, "stored": False}

    def test_again_gives_the_same_upload_with_its_offset(self, client, place):
        patch(client, place, 0, CONTENT[:100])
        again = client.post("/v1/uploads", json=ANNOUNCED)
        assert (again.status_code, again.headers["location"], again.headers["upload-offset"]) == (201, place, "100")

    def test_of_stored_bytes_needs_nothing_more(self, client, place):
        patch(client, place, 0, CONTENT)
        answer = client.post("/v1/uploads", json=ANNOUNCED)
        assert (answer.status_code, answer.json()["stored"], answer.json()["id"]) == (200, True, None)
        assert "location" not in answer.headers

    def test_of_stored_bytes_with_another_size_is_refused(self, client, place):
        patch(client, place, 0, CONTENT)
        answer = client.post("/v1/uploads", json=ANNOUNCED | {"size": SIZE + 1})
        assert (answer.status_code, answer.json()["faults"][0]["where"]) == (422, "size")

    def test_of_nothing_at_all_is_done_at_once(self, client):
        answer = client.post("/v1/uploads", json={"digest": sha256(b"").hexdigest(), "size": 0})
        assert (answer.status_code, answer.json()["stored"]) == (200, True)

    def test_completes_what_a_server_that_died_had_in_full(self, house, client, place):
        upload = house.service.catalog.page(Upload, "acme")[0]
        (house.service.settings.data / "uploads" / upload.id).parent.mkdir(exist_ok=True)
        (house.service.settings.data / "uploads" / upload.id).write_bytes(CONTENT)
        assert client.post("/v1/uploads", json=ANNOUNCED).status_code == 200
        assert house.service.blobs.get(DIGEST) == CONTENT

    @pytest.mark.parametrize("step", ["checked", "taken", "held"])
    def test_completes_what_a_server_that_died_had_begun_to_keep(self, house, client, place, step):
        patch(client, place, 0, CONTENT[:-1])
        catalog, upload = house.service.catalog, house.service.catalog.page(Upload, "acme")[0]
        file = house.service.settings.data / "uploads" / upload.id
        file.write_bytes(CONTENT)
        catalog.replace(upload, replace(upload, checked=True))
        if step in ("taken", "held"):
            house.service.blobs.take(file, DIGEST)
        if step == "held":
            catalog.hold("acme", Holding(DIGEST, SIZE))
        assert client.post("/v1/uploads", json=ANNOUNCED).status_code == 200
        assert house.service.blobs.get(DIGEST) == CONTENT
        assert (used(house), client.head(place).status_code, file.exists()) == (SIZE, 404, False)

    def test_forgets_what_was_given_up_long_ago(self, house, client, place):
        patch(client, place, 0, CONTENT[:100])
        upload = house.service.catalog.page(Upload, "acme")[0]
        house.service.catalog.replace(upload, replace(upload, created=upload.created - timedelta(days=8)))
        assert client.post("/v1/uploads", json={"digest": "0" * 64, "size": 7}).status_code == 201
        assert (used(house), client.head(place).status_code) == (7, 404)

    @pytest.mark.parametrize(
        "body",
        [{}, ANNOUNCED | {"digest": "ab"}, ANNOUNCED | {"digest": DIGEST.upper()}, ANNOUNCED | {"size": -1}, ANNOUNCED | {"size": "1"}],
    )
    def test_refuses_what_is_no_announcement(self, client, body):
        assert client.post("/v1/uploads", json=body).status_code == 422


class TestSend:
    @pytest.mark.parametrize("step", [SIZE, 1000, SIZE - 1])
    def test_in_pieces_of_any_size(self, house, client, place, step):
        for offset in range(0, SIZE, step):
            answer = patch(client, place, offset, CONTENT[offset : offset + step])
            assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(min(SIZE, offset + step)))
        assert house.service.blobs.get(DIGEST) == CONTENT
        assert client.head(place).status_code == 404
        assert used(house) == SIZE

    def test_without_telling_the_length(self, house, client, place):
        answer = client.patch(place, content=iter([CONTENT[:7], CONTENT[7:]]), headers={"Upload-Offset": "0"})
        assert answer.status_code == 204
        assert house.service.blobs.get(DIGEST) == CONTENT

    def test_by_ranges(self, house, client, place):
        for first, last in ((0, 99), (100, SIZE - 1)):
            headers = {"Content-Range": f"bytes {first}-{last}/{SIZE}"}
            assert client.put(place, content=CONTENT[first : last + 1], headers=headers).status_code == 204
        assert house.service.blobs.get(DIGEST) == CONTENT

    def test_whole_begins_anew(self, house, client, place):
        patch(client, place, 0, b"wrong")
        assert client.put(place, content=CONTENT).status_code == 204
        assert house.service.blobs.get(DIGEST) == CONTENT

    def test_tells_how_far_it_is(self, client, place):
        patch(client, place, 0, CONTENT[:100])
        answer = client.head(place)
        assert (answer.status_code, answer.headers["upload-offset"], answer.headers["upload-length"]) == (200, "100", str(SIZE))
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize("offset", [0, 99, 101, SIZE])
    def test_at_another_offset_is_refused_with_the_right_one(self, client, place, offset):
        patch(client, place, 0, CONTENT[:100])
        answer = patch(client, place, offset, b"x")
        assert (answer.status_code, answer.json()["code"], answer.headers["upload-offset"]) == (409, "offset", "100")

    @pytest.mark.parametrize("headers", [{}, {"Upload-Offset": "-1"}, {"Upload-Offset": "x"}])
    def test_needs_an_offset(self, client, place, headers):
        assert client.patch(place, content=b"x", headers=headers).status_code == 422

    @pytest.mark.parametrize("text", ["bytes 0-1/2", f"bytes 0-98/{SIZE}", "bytes */10", f"bytes 5-104/{SIZE - 5000}", "items 0-99/100"])
    def test_needs_a_range_that_fits_the_bytes(self, client, place, text):
        answer = client.put(place, content=CONTENT[:100], headers={"Content-Range": text})
        assert answer.status_code in (400, 422)
        assert client.head(place).headers["upload-offset"] == "0"

    def test_needs_a_length_where_there_is_no_offset(self, client, place):
        assert client.put(place, content=iter([CONTENT])).status_code == 411


class TestRefusals:
    def test_of_wrong_bytes_drop_the_upload(self, house, client, place):
        answer = patch(client, place, 0, CONTENT[::-1])
        assert (answer.status_code, answer.json()["faults"][0]["where"]) == (422, "digest")
        assert client.head(place).status_code == 404
        assert used(house) == 0
        assert not house.service.blobs.has(sha256(CONTENT[::-1]).hexdigest())

    def test_of_too_many_bytes_keep_what_was_there(self, client, place):
        patch(client, place, 0, CONTENT[:100])
        assert patch(client, place, 100, CONTENT).status_code == 422
        assert client.patch(place, content=iter([CONTENT[100:], b"x"]), headers={"Upload-Offset": "100"}).status_code == 422
        assert client.head(place).headers["upload-offset"] == "100"

    def test_of_a_second_writer(self, house, client, place):
        patch(client, place, 0, CONTENT[:100])
        upload = house.service.catalog.page(Upload, "acme")[0]
        with (house.service.settings.data / "uploads" / upload.id).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for answer in (patch(client, place, 100, CONTENT[100:]), client.put(place, content=CONTENT), client.delete(place)):
                assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert patch(client, place, 100, CONTENT[100:]).status_code == 204

    def test_of_more_than_the_quota(self, make_house):
        house = make_house(quota_bytes=SIZE + 10)
        client = house.client(Scope.WRITE)
        client.post("/v1/uploads", json=ANNOUNCED)
        answer = client.post("/v1/uploads", json={"digest": "0" * 64, "size": 11})
        assert (answer.status_code, answer.json()["code"]) == (429, "quota")
        assert client.post("/v1/uploads", json={"digest": "0" * 64, "size": 10}).status_code == 201
        assert house.client(Scope.WRITE, "other").post("/v1/uploads", json=ANNOUNCED).status_code == 201

    def test_of_more_than_the_disk_holds(self, client, monkeypatch):
        monkeypatch.setattr(incoming.Incoming, "free", lambda self: SIZE)
        answer = client.post("/v1/uploads", json=ANNOUNCED)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")

    @pytest.mark.parametrize("key", ["none", "read"])
    def test_come_before_the_body_is_read(self, house, client, place, key):
        stranger = house.client(None if key == "none" else Scope.READ)

        def body():
            raise AssertionError("the body was read")
            yield b""

        for path in (place, f"/v1/blobs/{DIGEST}"):
            answer = stranger.put(path, content=body(), headers={"Content-Length": str(1 << 40)})
            assert answer.status_code == (401 if key == "none" else 403)


class TestGiveUp:
    def test_frees_what_was_announced(self, house, client, place):
        patch(client, place, 0, CONTENT[:100])
        assert client.delete(place).status_code == 204
        assert client.delete(place).status_code == client.head(place).status_code == 404
        assert used(house) == 0
        assert list((house.service.settings.data / "uploads").iterdir()) == []


class TestBlobs:
    def test_are_stored_in_one_call(self, house, client):
        first, second = (client.put(f"/v1/blobs/{DIGEST}", content=CONTENT) for _ in range(2))
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == {"id": None, **ANNOUNCED, "offset": SIZE, "stored": True}
        assert house.service.blobs.get(DIGEST) == CONTENT

    def test_are_gone_on_with(self, house, client):
        part = client.put(f"/v1/blobs/{DIGEST}", content=CONTENT[:100], headers={"Content-Range": f"bytes 0-99/{SIZE}"})
        assert (part.status_code, part.headers["upload-offset"]) == (204, "100")
        under_way = client.head(f"/v1/blobs/{DIGEST}")
        assert (under_way.status_code, under_way.headers["upload-offset"]) == (404, "100")
        rest = {"Content-Range": f"bytes 100-{SIZE - 1}/{SIZE}"}
        assert client.put(f"/v1/blobs/{DIGEST}", content=CONTENT[100:], headers=rest).status_code == 201
        assert house.service.blobs.get(DIGEST) == CONTENT
        assert client.head(f"/v1/blobs/{DIGEST}").headers["content-length"] == str(SIZE)

    def test_are_missing_until_they_are_stored(self, client):
        other = "0" * 64
        asked = {"digests": [other, DIGEST]}
        assert client.post("/v1/blobs:missing", json=asked).json() == {"missing": [other, DIGEST]}
        client.put(f"/v1/blobs/{DIGEST}", content=CONTENT)
        assert client.post("/v1/blobs:missing", json=asked).json() == {"missing": [other]}

    def test_of_one_tenant_are_unknown_to_another(self, house, client, place):
        client.put(f"/v1/blobs/{DIGEST}", content=CONTENT)
        stranger = house.client(Scope.WRITE, "other")
        assert stranger.head(f"/v1/blobs/{DIGEST}").status_code == stranger.head(place).status_code == 404
        assert stranger.post("/v1/blobs:missing", json={"digests": [DIGEST]}).json() == {"missing": [DIGEST]}
        assert stranger.post("/v1/uploads", json=ANNOUNCED).status_code == 201
        assert stranger.put(f"/v1/blobs/{DIGEST}", content=CONTENT).status_code == 201

    def test_need_a_digest(self, client):
        assert client.put("/v1/blobs/abc", content=b"x").status_code == 422
        assert client.put(f"/v1/blobs/{DIGEST}", content=b"x").status_code == 422
