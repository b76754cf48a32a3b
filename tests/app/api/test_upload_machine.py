"""Uploads, driven by chance: whatever is sent, cut short, sent twice or forgotten, the service knows what it has."""

import asyncio
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from fastapi.testclient import TestClient
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.api.service import Service
from app.blobs.local import open_blobs
from app.blobs.memory import MemoryBlobs
from app.config import Settings
from app.domain.ids import new_id
from app.domain.key import Key, Scope, digest_secret, new_secret
from app.main import build_app
from app.store.memory import MemoryStore
from app.store.memory_catalog import MemoryCatalog
from tests.app.api.conftest import SentJobs
from workers.sweeper import sweep_blobs

CONTENTS = {sha256(content).hexdigest(): content for content in (b"", b"a", b"weights" * 30, bytes(range(256)))}
TENANTS = ("acme", "other")
QUOTA = 400

tenants = st.sampled_from(TENANTS)
digests = st.sampled_from(sorted(CONTENTS))
shares = st.floats(0, 1)


class Uploads(RuleBasedStateMachine):
    """`sent`: by tenant and digest, how many of the bytes the service has taken; `places`: where they go; `stored`: all were."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        data = Path(self.folder.name)
        chosen, blobs, results = Settings(data=data, quota_bytes=QUOTA), open_blobs(data / "blobs"), MemoryBlobs(data)
        self.service = Service(chosen, MemoryStore(), MemoryCatalog(), blobs, results, SentJobs())
        self.sent, self.places, self.stored = {}, {}, set()
        self.keys = {tenant: self.key(tenant) for tenant in TENANTS}
        self.restart()

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule()
    def restart(self):
        """The process is another one from now on; what it had in its memory is gone."""
        self.app = build_app(self.service)
        self.clients = {tenant: TestClient(self.app, "http://localhost", headers=self.keys[tenant]) for tenant in TENANTS}

    @rule(tenant=tenants, digest=digests)
    def announce(self, tenant, digest):
        content, known = CONTENTS[digest], (tenant, digest) in self.stored | self.places.keys()
        answer = self.clients[tenant].post("/v1/uploads", json={"digest": digest, "size": len(content)})
        if (tenant, digest) in self.stored or self.sent.get((tenant, digest), 0) == len(content):
            assert (answer.status_code, answer.json()["stored"]) == (200, True)
            self.stored.add((tenant, digest))
            self.forget(tenant, digest)
        elif not known and self.used(tenant) + len(content) > QUOTA:
            assert answer.status_code == 429
        else:
            assert answer.status_code == 201
            assert answer.json()["offset"] == self.sent.setdefault((tenant, digest), 0)
            assert self.places.setdefault((tenant, digest), answer.headers["location"]) == answer.headers["location"]

    @rule(tenant=tenants, digest=digests, share=shares, cut=st.booleans())
    def send(self, tenant, digest, share, cut):
        """Some of the bytes that follow; cut short, the client is gone before the last of them is taken for sent."""
        if (tenant, digest) in self.places:
            content, offset = CONTENTS[digest], self.sent[tenant, digest]
            piece = content[offset : offset + round(share * len(content))]
            if cut:
                self.cut(tenant, digest, offset, piece)
                self.sent[tenant, digest] += len(piece)
            else:
                answer = self.patch(tenant, digest, offset, piece)
                assert answer.status_code == 204
                self.took(tenant, digest, len(piece))

    @rule(tenant=tenants, digest=digests, away=st.integers(-9, 9).filter(bool))
    def send_elsewhere(self, tenant, digest, away):
        if (tenant, digest) in self.places and self.sent[tenant, digest] + away >= 0:
            answer = self.patch(tenant, digest, self.sent[tenant, digest] + away, b"x")
            assert (answer.status_code, int(answer.headers["upload-offset"])) == (409, self.sent[tenant, digest])

    @rule(tenant=tenants, digest=digests)
    def send_too_much(self, tenant, digest):
        if (tenant, digest) in self.places:
            offset = self.sent[tenant, digest]
            answer = self.patch(tenant, digest, offset, bytes(len(CONTENTS[digest]) - offset + 1))
            assert answer.status_code == 422

    @rule(tenant=tenants, digest=digests)
    def send_something_else(self, tenant, digest):
        if (tenant, digest) in self.places:
            wrong = bytes(byte ^ 1 for byte in CONTENTS[digest])
            answer = self.clients[tenant].put(self.places[tenant, digest], content=wrong)
            assert (answer.status_code, answer.json()["faults"][0]["where"]) == (422, "digest")
            self.forget(tenant, digest)

    @rule(tenant=tenants, digest=digests)
    def send_whole(self, tenant, digest):
        content, known = CONTENTS[digest], (tenant, digest) in self.stored | self.places.keys()
        answer = self.clients[tenant].put(f"/v1/blobs/{digest}", content=content)
        if not known and self.used(tenant) + len(content) > QUOTA:
            assert answer.status_code == 429
        else:
            assert answer.status_code in ((200,) if (tenant, digest) in self.stored or not content else (200, 201))
            self.stored.add((tenant, digest))
            self.forget(tenant, digest)

    @rule(tenant=tenants, digest=digests)
    def give_up(self, tenant, digest):
        if (tenant, digest) in self.places:
            assert self.clients[tenant].delete(self.places[tenant, digest]).status_code == 204
            self.forget(tenant, digest)

    @rule(tenant=tenants, digest=digests)
    def give_stored_up(self, tenant, digest):
        answer = self.clients[tenant].delete(f"/v1/blobs/{digest}")
        assert answer.status_code == (204 if (tenant, digest) in self.stored else 404)
        self.stored.discard((tenant, digest))

    @rule()
    def sweep(self):
        sweep_blobs(self.service.catalog, self.service.blobs, datetime.now(UTC))
        assert {digest for digest in CONTENTS if self.service.blobs.has(digest)} == {digest for _, digest in self.stored}

    @invariant()
    def knows_what_it_has(self):
        if hasattr(self, "clients"):
            for tenant, client in self.clients.items():
                missing = client.post("/v1/blobs:missing", json={"digests": list(CONTENTS)}).json()["missing"]
                assert set(CONTENTS) - set(missing) == {digest for owner, digest in self.stored if owner == tenant}
                assert self.service.catalog.held_bytes(tenant) == self.used(tenant) <= QUOTA
            for (tenant, digest), place in self.places.items():
                assert int(self.clients[tenant].head(place).headers["upload-offset"]) == self.sent[tenant, digest]
            for _, digest in self.stored:
                assert self.service.blobs.get(digest) == CONTENTS[digest]

    def key(self, tenant):
        secret = new_secret()
        self.service.catalog.add_key(Key(new_id("key"), tenant, Scope.WRITE, digest_secret(secret), datetime.now(UTC)))
        return {"Authorization": f"Bearer {secret}"}

    def patch(self, tenant, digest, offset, piece):
        return self.clients[tenant].patch(self.places[tenant, digest], content=piece, headers={"Upload-Offset": str(offset)})

    def cut(self, tenant, digest, offset, piece):
        messages = iter([{"type": "http.request", "body": piece, "more_body": True}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        async def send(message):
            assert message.get("status", 400) < 500

        headers = self.keys[tenant] | {"host": "localhost", "upload-offset": str(offset)}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        place = self.places[tenant, digest]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PATCH", "scheme": "http", "path": place,
            "raw_path": place.encode(), "query_string": b"", "root_path": "", "headers": raw, "server": ("localhost", 80), "client": None,
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))

    def took(self, tenant, digest, count):
        self.sent[tenant, digest] += count
        if self.sent[tenant, digest] == len(CONTENTS[digest]):
            self.stored.add((tenant, digest))
            self.forget(tenant, digest)

    def forget(self, tenant, digest):
        self.places.pop((tenant, digest), None)
        self.sent.pop((tenant, digest), None)

    def used(self, tenant):
        known = {digest for owner, digest in self.stored | self.places.keys() if owner == tenant}
        return sum(len(CONTENTS[digest]) for digest in known)


TestUploads = Uploads.TestCase
TestUploads.settings = settings(max_examples=20, stateful_step_count=16, deadline=None, database=None, derandomize=True)
