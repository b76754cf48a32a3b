"""Many at once: every store lets exactly one win, and numbers events without gaps."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

from app.domain.checkpoint import Dataset
from app.domain.errors import ConflictError, NotFoundError, StaleLeaseError
from app.domain.ids import new_id
from app.domain.study import StudyStatus
from app.domain.trial import Measurement, TrialStatus
from app.domain.upload import Holding
from app.store.sql import open_store

CLAIMANT = Path(__file__).with_name("claimant.py")
THREADS = 6


def at_once(act):
    """What `act(number)` gives in each of several threads that start together."""
    barrier = Barrier(THREADS)

    def begin(number):
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def wins(act, *refusals):
    """The numbers of the threads whose `act` was not refused."""

    def attempt(number):
        try:
            act(number)
        except refusals:
            return None
        return number

    return [number for number in at_once(attempt) if number is not None]


def assert_gap_free(store, study_id):
    events = store.events(study_id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.at for event in events] == sorted(event.at for event in events)


class TestThreads:
    def test_a_study_is_added_once(self, store, make_study):
        study = make_study()
        assert len(wins(lambda number: store.add_study(study), ConflictError)) == 1
        assert len(store.events(study.id)) == 1

    def test_a_plan_is_carried_out_once(self, store, make_study, make_proposals):
        study = make_study()
        store.add_study(study)
        winners = wins(lambda number: store.propose(study.id, 0, make_proposals(number + 1)), ConflictError)
        assert len(winners) == 1
        assert len(store.trials(study.id)) == winners[0] + 1
        assert len(store.events(study.id)) == 2

    def test_a_study_ends_once(self, store, make_study, make_front):
        study = make_study()
        store.add_study(study)

        def end(number):
            return store.finish(make_front(study.id)) if number % 2 else store.step_study(study.id, StudyStatus.CANCELLED)

        winners = wins(end, ConflictError)
        if store.study(study.id).status is StudyStatus.FINISHED:
            assert [winner % 2 for winner in winners] == [1]
        else:  # the front of a cancelled study may follow, once
            assert sorted(winner % 2 for winner in winners) in ([0], [0, 1])
        assert len(store.events(study.id)) == 1 + len(winners)

    def test_a_trial_is_given_to_one_evaluator(self, store, make_study, make_proposals):
        study = make_study(elsewhere=("zeros", "ones"))
        store.add_study(study)
        trials = [trial.id for trial in store.propose(study.id, 0, make_proposals(8))]
        leases = at_once(lambda number: store.ask(study.id, f"e{number}", 3, 60.0, 0.0))
        assert Counter(lease.trial_id for got in leases for lease in got) == Counter(trials)
        assert_gap_free(store, study.id)

    def test_a_trial_is_claimed_once(self, store, make_study, make_proposals):
        study = make_study()
        store.add_study(study)
        trials = [trial.id for trial in store.propose(study.id, 0, make_proposals(8))]
        leases = at_once(lambda number: [store.claim(trial, f"w{number}", 60.0, 0.0) for trial in trials])
        assert Counter(lease.trial_id for got in leases for lease in got if lease) == Counter(trials)
        assert {trial.attempts for trial in store.trials(study.id)} == {1}
        assert_gap_free(store, study.id)

    def test_a_lost_trial_is_taken_over_once(self, store, proposed_trial):
        store.claim(proposed_trial, "lost", 1.0, 0.0)
        leases = [lease for lease in at_once(lambda number: store.claim(proposed_trial, f"w{number}", 60.0, 2.0)) if lease]
        assert [lease.token for lease in leases] == [2]

    def test_a_result_is_recorded_once(self, store, proposed_trial):
        lease = store.claim(proposed_trial, "w", 60.0, 0.0)
        (winner,) = wins(lambda number: store.record(lease, Measurement({"zeros": number / 10}, {}, 1.0)), StaleLeaseError)
        assert store.trial(proposed_trial).scores == {"zeros": winner / 10}

    def test_events_of_busy_workers_have_no_gaps(self, store, make_study, make_proposals):
        study = make_study()
        store.add_study(study)
        trials = [trial.id for trial in store.propose(study.id, 0, make_proposals(THREADS * 3))]

        def measure(number):
            for trial in trials[number::THREADS]:
                store.record(store.claim(trial, f"w{number}", 60.0, 0.0), Measurement({"zeros": 0.5}, {}, 1.0))

        at_once(measure)
        assert {trial.status for trial in store.trials(study.id)} == {TrialStatus.FINISHED}
        assert len(store.events(study.id)) == 2 + 2 * len(trials)
        assert_gap_free(store, study.id)


class TestRegistrations:
    """What is decided from the rows of one port is written to those of the other in the same transaction."""

    SHA = "ab" * 32
    BORN = datetime(2026, 1, 2, tzinfo=UTC)
    DATA = Dataset("ds_1", "", SHA, 10, BORN, {"a.csv": SHA})

    def naming(self, study):
        tasks = (replace(study.spec.tasks[0], data=self.DATA.id), *study.spec.tasks[1:])
        return replace(study, id=new_id("study"), spec=replace(study.spec, tasks=tasks))

    def register(self, catalog):
        catalog.hold("", Holding(self.SHA, 10))
        catalog.register(self.DATA)

    def test_are_named_by_a_study_or_dropped(self, records, make_study):
        store, catalog = records
        self.register(catalog)

        def act(number):
            return store.add_study(self.naming(make_study())) if number % 2 else catalog.unregister(self.DATA)

        winners = wins(act, ConflictError, NotFoundError)
        assert {winner % 2 for winner in winners} in ({0}, {1})
        assert (winners[0] % 2 == 1) == bool(store.studies()) == bool(catalog.page(Dataset, ""))

    def test_are_named_by_an_extended_study_or_dropped(self, records, make_study, make_front):
        store, catalog = records
        self.register(catalog)
        study = self.naming(make_study())
        store.add_study(study)
        store.finish(make_front(study.id))

        def act(number):
            return store.extend(study.id, study.spec) if number % 2 else catalog.unregister(self.DATA)

        (winner,) = wins(act, ConflictError, NotFoundError)
        extended = store.study(study.id).status is StudyStatus.SUBMITTED
        assert (winner % 2 == 1) == extended == bool(catalog.page(Dataset, ""))

    def test_are_made_of_bytes_or_the_bytes_are_given_up(self, records):
        _, catalog = records
        catalog.hold("", Holding(self.SHA, 10))

        def act(number):
            return catalog.register(self.DATA) if number % 2 else catalog.let_go("", self.SHA)

        (winner,) = wins(act, ConflictError, NotFoundError)
        assert (winner % 2 == 1) == bool(catalog.page(Dataset, "")) == bool(catalog.held_bytes(""))

    def test_find_their_bytes_stored_however_they_were_swept(self, records):
        _, catalog = records
        catalog.hold("other", Holding(self.SHA, 10))
        catalog.let_go("other", self.SHA)
        stored = {self.SHA}

        def act(number):
            if number % 2:
                catalog.discard(self.SHA, datetime.now(UTC) + timedelta(days=1), stored.discard)
            else:
                catalog.hold("", Holding(self.SHA, 10))
                stored.add(self.SHA)

        at_once(act)
        assert stored == {self.SHA}

    def test_let_go_by_all_at_once_leave_no_bytes_behind(self, records):
        _, catalog = records
        tenants = [f"t{number}" for number in range(THREADS)]
        for tenant in tenants:
            catalog.hold(tenant, Holding(self.SHA, 10))
        assert len(wins(lambda number: catalog.let_go(tenants[number], self.SHA))) == THREADS
        assert catalog.unheld(datetime.now(UTC) + timedelta(days=1)) == (self.SHA,)


class TestProcesses:
    def test_a_trial_is_claimed_once(self, database, make_study, make_proposals):
        store = open_store(database)
        study = make_study()
        store.add_study(study)
        trials = [trial.id for trial in store.propose(study.id, 0, make_proposals(20))]
        claimants = [
            subprocess.Popen(
                [sys.executable, CLAIMANT, database, f"p{number}", *trials], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for number in range(3)
        ]
        for claimant in claimants:
            claimant.stdin.write("go\n")
            claimant.stdin.flush()
        claimed = [trial for claimant in claimants for trial in claimant.communicate()[0].split()]
        assert [claimant.returncode for claimant in claimants] == [0, 0, 0]
        assert Counter(claimed) == Counter(trials)
        assert_gap_free(store, study.id)
        store.close()
