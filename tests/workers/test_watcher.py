"""When the watcher stops a measurement, and what becomes of the trial."""

import queue
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.finetune import Finetune, FinetuneSpec, FinetuneStatus
from app.domain.study import FactoryArchitecture, ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.task import SplitShares, TaskSpec
from app.domain.trial import Measurement, Proposal, TrialStatus
from app.store.memory import MemoryStore
from app.store.memory_catalog import MemoryCatalog
from workers.rights import Rights
from workers.watcher import Watcher, watch

BORN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def catalog():
    return MemoryCatalog()


@pytest.fixture
def lease(store):
    """The lease of a trial that is measured since 100, for 30 seconds."""
    spec = StudySpec("small", ModelSetSpec("base", {"left": "l", "right": "r"}), FactoryArchitecture("net.py", "Net"), ())
    store.add_study(Study("study_1", spec, StudyStatus.RUNNING, BORN, BORN))
    [trial] = store.propose("study_1", 0, [Proposal("design", "search", (0.0, 1.0))])
    return store.claim(trial.id, "worker", 30.0, 100.0)


class Watched:
    """A watcher at a time that can be set, and how often it killed."""

    def __init__(self, store, catalog):
        self.now, self.kills = 100.0, 0
        self.watcher = Watcher(Rights(store, catalog), self.kill, 30.0, clock=lambda: self.now)

    def kill(self):
        self.kills += 1

    def look(self, times):
        for _ in range(times):
            self.watcher.look()
        return self.kills


@pytest.fixture
def watched(store, catalog, lease):
    made = Watched(store, catalog)
    made.watcher.hear(lease)
    return made


class TestLook:
    def test_leaves_alone_what_has_its_lease(self, watched):
        assert watched.look(5) == 0

    def test_leaves_alone_who_renews(self, store, lease, watched):
        store.renew(lease, 30.0, 129.0)
        watched.now = 158.0
        assert watched.look(5) == 0

    def test_kills_when_the_study_is_cancelled(self, store, watched):
        store.step_study("study_1", StudyStatus.CANCELLED)
        assert [watched.look(1), watched.look(1), watched.look(5)] == [0, 1, 1]

    def test_kills_when_somebody_else_has_the_trial(self, store, lease, watched):
        store.claim(lease.trial_id, "other", 30.0, 131.0)
        assert watched.look(2) == 1

    def test_kills_when_nobody_renews_for_long(self, watched):
        watched.now = 144.0
        assert watched.look(2) == 0
        watched.now = 146.0
        assert watched.look(2) == 1

    def test_forgives_a_word_that_comes_late(self, store, lease, watched):
        store.record(lease, Measurement({}, {}, 1.0))
        watched.look(1)
        watched.watcher.hear(None)
        assert watched.look(5) == 0


def run(watched, *words):
    inbox = queue.SimpleQueue()
    for word in words:
        inbox.put(word)
    watch(watched.watcher, inbox)


class TestWatch:
    def test_ends_with_its_process(self, store, lease, watched):
        run(watched, lease, "gone")
        assert watched.kills == 0
        assert store.trial(lease.trial_id).status is TrialStatus.MEASURING

    @pytest.mark.parametrize("words", [("end",), ("gone", "end")])
    def test_hands_back_when_told_to_end(self, store, lease, watched, words):
        run(watched, lease, *words)
        trial = store.trial(lease.trial_id)
        assert (watched.kills, trial.status, trial.attempts) == (1, TrialStatus.PROPOSED, 0)

    def test_hands_back_nothing_that_is_recorded(self, store, lease, watched):
        store.record(lease, Measurement({}, {}, 1.0))
        run(watched, lease, "end")
        assert store.trial(lease.trial_id).status is TrialStatus.FINISHED


class TestFinetuning:
    @pytest.fixture
    def row(self, catalog):
        """One that is trained since 100, for 30 seconds."""
        spec = FinetuneSpec("base", FactoryArchitecture("net.py", "Net"), TaskSpec("task", "data", "accuracy", SplitShares(0.5, 0.5, 0)))
        waiting = Finetune("finetune_1", "acme", "digest", spec, FinetuneStatus.SUBMITTED, BORN, BORN)
        claimed = waiting.claimed("worker", 130.0, BORN)
        catalog.add(claimed)
        return claimed

    @pytest.fixture
    def watched(self, store, catalog, row):
        made = Watched(store, catalog)
        made.watcher.hear(row.claim)
        return made

    def test_leaves_alone_who_renews(self, catalog, row, watched):
        catalog.replace(row, replace(row, until=190.0))
        watched.now = 160.0
        assert watched.look(5) == 0

    @pytest.mark.parametrize(
        "change",
        [
            lambda row: row.cancelled(BORN),
            lambda row: row.claimed("other", 190.0, BORN),
            lambda row: row.handed_back(BORN, further=True),
        ],
        ids=["cancelled", "another's", "handed back"],
    )
    def test_kills_when_it_is_no_longer_the_process_s(self, catalog, row, watched, change):
        catalog.replace(row, change(row))
        assert [watched.look(1), watched.look(1), watched.look(5)] == [0, 1, 1]

    def test_kills_when_it_is_gone(self, catalog, row, watched):
        catalog.remove(row)
        assert watched.look(2) == 1

    def test_kills_when_nobody_renews_for_long(self, watched):
        watched.now = 146.0
        assert watched.look(2) == 1

    def test_hands_back_when_told_to_end(self, catalog, row, watched):
        run(watched, row.claim, "end")
        found = catalog.one(Finetune, "acme", row.id)
        assert (watched.kills, found.status, found.attempts, found.until) == (1, FinetuneStatus.RUNNING, 0, None)

    def test_hands_back_nothing_that_has_ended(self, catalog, row, watched):
        cancelled = row.cancelled(BORN)
        catalog.replace(row, cancelled)
        run(watched, row.claim, "end")
        assert catalog.one(Finetune, "acme", row.id) == cancelled
