"""The contract of the catalog, on every adapter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import ConflictError, GoneError, NotFoundError, UnavailableError
from app.domain.finetune import AdapterSpec, Finetune, FinetuneSpec, FinetuneStatus
from app.domain.key import Key, Scope, digest_secret, new_secret
from app.domain.merge import Merge
from app.domain.request import KeyedRequest
from app.domain.study import TransformersArchitecture
from app.domain.task import SplitShares, TaskSpec
from app.domain.upload import Holding, Upload
from app.store.memory_catalog import MemoryCatalog
from app.store.sql import open_store
from app.store.sql_catalog import open_catalog
from tests.contracts.conftest import DATABASES, made_database

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
SHA = "ab" * 32
TASK = TaskSpec("task", "/data/mnist.csv", "accuracy", SplitShares(), "/data/heads.safetensors#mnist")
ASKED = FinetuneSpec("/models/base", TransformersArchitecture("AutoModel"), TASK, AdapterSpec("tangent", targets=("query",)))
RECORDS = (
    Upload("upload_1", "acme", SHA, 10, NOW),
    Checkpoint("ckpt_1", "acme", "lora", SHA, 10, NOW, {"adapter_model.safetensors": SHA}),
    Dataset("ds_1", "acme", SHA, 10, NOW, reference="s3://bucket/data.csv"),
    Merge("merge_1", "acme", "study_1", (0.1, 1 / 3), SHA, NOW, point=7),
    Finetune("finetune_1", "acme", SHA, ASKED, FinetuneStatus.SUBMITTED, NOW, NOW).claimed("me", 12.5, NOW),
)


@pytest.fixture(params=("memory", *DATABASES))
def catalog(request, tmp_path):
    if request.param == "memory":
        yield MemoryCatalog()
        return
    with made_database(request.param, tmp_path) as url:
        open_store(url).close()
        opened = open_catalog(url)
        yield opened
        opened.close()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
class TestRecords:
    def test_come_back_equal(self, catalog, record):
        catalog.add(record)
        assert catalog.one(type(record), "acme", record.id) == record
        assert catalog.page(type(record), "acme") == catalog.with_digest(type(record), "acme", SHA) == (record,)

    def test_of_another_tenant_are_not_there(self, catalog, record):
        catalog.add(record)
        with pytest.raises(NotFoundError):
            catalog.one(type(record), "", record.id)
        assert catalog.page(type(record), "") == catalog.with_digest(type(record), "", SHA) == ()

    def test_of_another_kind_are_not_there(self, catalog, record):
        catalog.add(record)
        other = Merge if type(record) is not Merge else Upload
        with pytest.raises(NotFoundError):
            catalog.one(other, "acme", record.id)

    def test_of_all_tenants_are_there_for_what_does_their_work(self, catalog, record):
        theirs = replace(record, id=f"{record.id}_other", tenant="other")
        for one in (theirs, record):
            catalog.add(one)
        assert catalog.every(type(record)) == (record, theirs)
        assert catalog.every(Merge if type(record) is not Merge else Upload) == ()

    def test_are_added_once(self, catalog, record):
        catalog.add(record)
        with pytest.raises(ConflictError):
            catalog.add(record)

    def test_change_only_from_what_they_are(self, catalog, record):
        catalog.add(record)
        newer = replace(record, digest="cd" * 32)
        catalog.replace(record, newer)
        assert catalog.one(type(record), "acme", record.id) == newer
        with pytest.raises(ConflictError):
            catalog.replace(record, newer)
        with pytest.raises(ConflictError):
            catalog.remove(record)
        catalog.remove(newer)
        with pytest.raises(NotFoundError):
            catalog.remove(newer)


class TestPages:
    def test_follow_the_ids(self, catalog):
        for number in (3, 1, 2):
            catalog.add(replace(RECORDS[2], id=f"ds_{number}"))
        assert [found.id for found in catalog.page(Dataset, "acme", limit=2)] == ["ds_1", "ds_2"]
        assert [found.id for found in catalog.page(Dataset, "acme", after="ds_2")] == ["ds_3"]


class TestHoldings:
    def test_are_counted_once_and_apart_by_tenant(self, catalog):
        for tenant in ("acme", "acme", "other"):
            catalog.hold(tenant, Holding(SHA, 10))
        catalog.add(RECORDS[0])
        catalog.add(RECORDS[1])
        assert catalog.holdings("acme", [SHA, "00"]) == (Holding(SHA, 10),)
        assert catalog.holdings("nobody", [SHA]) == ()
        assert (catalog.held_bytes("acme"), catalog.held_bytes("other"), catalog.held_bytes("nobody")) == (20, 10, 0)


class TestHolds:
    """`held`: one file of a checkpoint of its own, `shared`: one that a dataset is made of too."""

    OWN, SHARED = "cd" * 32, "ef" * 32
    FILES = replace(RECORDS[1], files={"a.safetensors": OWN, "b.safetensors": SHARED})
    DATA = replace(RECORDS[2], files={"b.safetensors": SHARED}, reference="")
    LATER = datetime(9999, 1, 1, tzinfo=UTC)

    @pytest.fixture
    def registered(self, catalog):
        for digest in (self.OWN, self.SHARED):
            catalog.hold("acme", Holding(digest, 10))
        catalog.register(self.FILES)
        catalog.register(self.DATA)
        return catalog

    def test_what_is_registered_is_made_of_what_is_held(self, catalog):
        catalog.hold("acme", Holding(self.OWN, 10))
        with pytest.raises(ConflictError, match=self.SHARED):
            catalog.register(self.FILES)
        with pytest.raises(NotFoundError):
            catalog.one(Checkpoint, "acme", "ckpt_1")

    def test_end_with_the_last_that_is_made_of_the_bytes(self, registered):
        registered.unregister(self.FILES)
        assert registered.holdings("acme", [self.OWN, self.SHARED]) == (Holding(self.SHARED, 10),)
        assert (registered.held_bytes("acme"), registered.unheld(self.LATER)) == (10, (self.OWN,))
        registered.unregister(self.DATA)
        assert (registered.held_bytes("acme"), set(registered.unheld(self.LATER))) == (0, {self.OWN, self.SHARED})
        with pytest.raises(NotFoundError):
            registered.unregister(self.DATA)

    def test_of_what_was_never_registered_end_when_they_are_given_up(self, registered):
        with pytest.raises(ConflictError, match="ckpt_1"):
            registered.let_go("acme", self.OWN)
        with pytest.raises(NotFoundError):
            registered.let_go("other", self.OWN)
        registered.hold("acme", Holding(SHA, 10))
        registered.let_go("acme", SHA)
        assert registered.unheld(self.LATER) == (SHA,)
        with pytest.raises(NotFoundError):
            registered.let_go("acme", SHA)

    def test_of_another_tenant_keep_the_bytes(self, registered):
        registered.hold("other", Holding(self.OWN, 10))
        registered.unregister(self.FILES)
        assert registered.unheld(self.LATER) == ()
        registered.let_go("other", self.OWN)
        assert registered.unheld(self.LATER) == (self.OWN,)

    def test_of_what_a_finetune_needs_stay(self, registered):
        named = replace(ASKED, base="ckpt_1", task=replace(TASK, data="ds_1", head=None))
        asked = Finetune("finetune_1", "acme", SHA, named, FinetuneStatus.SUBMITTED, NOW, NOW)
        registered.add(asked)
        for record in (self.FILES, self.DATA):
            with pytest.raises(ConflictError, match="finetune_1"):
                registered.unregister(record)
        registered.replace(asked, asked.cancelled(NOW))
        registered.unregister(self.FILES)
        with pytest.raises(GoneError, match="ckpt_1"):
            registered.add(replace(asked, id="finetune_2"))

    def test_of_uploads_under_way_are_none_but_keep_the_bytes(self, catalog):
        catalog.hold("acme", Holding(SHA, 10))
        catalog.let_go("acme", SHA)
        catalog.add(RECORDS[0])
        assert catalog.unheld(self.LATER) == ()
        catalog.remove(RECORDS[0])
        assert catalog.unheld(self.LATER) == (SHA,)
        catalog.hold("acme", Holding(SHA, 10))
        assert catalog.unheld(self.LATER) == ()


class TestDiscard:
    LATER = TestHolds.LATER

    @pytest.fixture
    def let_go(self, catalog):
        catalog.hold("acme", Holding(SHA, 10))
        catalog.let_go("acme", SHA)
        return catalog

    def test_deletes_once(self, let_go):
        deleted = []
        assert [let_go.discard(SHA, self.LATER, deleted.append) for _ in range(2)] == [True, False]
        assert (deleted, let_go.unheld(self.LATER)) == ([SHA], ())

    def test_leaves_what_was_let_go_of_lately_or_is_held_again(self, let_go):
        assert let_go.unheld(NOW) == ()
        assert not let_go.discard(SHA, NOW, pytest.fail)
        let_go.hold("other", Holding(SHA, 10))
        assert not let_go.discard(SHA, self.LATER, pytest.fail)

    def test_that_fails_is_tried_again(self, let_go):
        def fail(digest):
            raise UnavailableError("out of reach")

        with pytest.raises(UnavailableError):
            let_go.discard(SHA, self.LATER, fail)
        assert let_go.unheld(self.LATER) == (SHA,)


class TestKeys:
    def test_are_found_by_the_digest_of_their_secret(self, catalog):
        secret = new_secret()
        key = Key("key_1", "acme", Scope.WRITE, digest_secret(secret), NOW)
        catalog.add_key(key)
        assert catalog.key(digest_secret(secret)) == key
        assert catalog.keys() == (key,)
        with pytest.raises(ConflictError):
            catalog.add_key(replace(key, id="key_2"))

    def test_are_gone_once_removed(self, catalog):
        catalog.add_key(Key("key_1", "acme", Scope.READ, SHA, NOW))
        catalog.remove_key("key_1")
        with pytest.raises(NotFoundError):
            catalog.key(SHA)
        with pytest.raises(NotFoundError):
            catalog.remove_key("key_1")


class TestRequests:
    BEGUN = KeyedRequest("acme", "k1", SHA, NOW, "study_1")

    def test_are_begun_once(self, catalog):
        assert catalog.begin_request(self.BEGUN, NOW) == self.BEGUN
        again = KeyedRequest("acme", "k1", "cd" * 32, NOW + timedelta(seconds=1), "study_2")
        assert catalog.begin_request(again, NOW) == self.BEGUN
        other = replace(again, tenant="other")
        assert catalog.begin_request(other, NOW) == other

    def test_stay_answered(self, catalog):
        catalog.begin_request(self.BEGUN, NOW)
        catalog.answer_request(self.BEGUN)
        later = NOW + timedelta(days=9)
        assert catalog.begin_request(replace(self.BEGUN, begun=later, subject="study_2"), later) == replace(self.BEGUN, answered=True)
        catalog.forget_request(self.BEGUN)
        assert catalog.begin_request(self.BEGUN, NOW).answered

    def test_whose_carrier_died_are_taken_over_as_they_were(self, catalog):
        catalog.begin_request(self.BEGUN, NOW)
        heir = replace(self.BEGUN, begun=NOW + timedelta(minutes=5), subject="study_2")
        taken = catalog.begin_request(heir, NOW + timedelta(minutes=1))
        assert taken == replace(heir, subject="study_1")
        with pytest.raises(ConflictError):
            catalog.answer_request(self.BEGUN)
        catalog.answer_request(taken)

    def test_that_led_to_nothing_are_begun_again(self, catalog):
        catalog.begin_request(self.BEGUN, NOW)
        catalog.forget_request(self.BEGUN)
        again = replace(self.BEGUN, subject="study_2")
        assert catalog.begin_request(again, NOW) == again
