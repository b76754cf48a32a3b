"""Whatever is asked, in whatever order: the databases answer as the store in memory does."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import create_engine, delete

from app.domain.errors import MergefrontError
from app.domain.front import Figures, Front
from app.domain.study import FactoryArchitecture, Failure, ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.task import ExternalTask, SplitShares, TaskSpec
from app.domain.trial import Lease, Measurement, Proposal, Trial
from app.store.memory import MemoryStore
from app.store.port import Event
from app.store.sql import open_store
from app.store.tables import metadata

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
STUDIES = ("study_a", "study_b")
TASKS = (TaskSpec("a", "a.csv", "accuracy", SplitShares()), ExternalTask("b", "helpfulness"))
SPEC = StudySpec("digits", ModelSetSpec("base", {"a": "a", "b": "b"}), FactoryArchitecture("net.py", "Net"), TASKS)
study_ids = st.sampled_from(STUDIES)
places = st.integers(0, 30)
seconds = st.sampled_from([1.0, 5.0, 20.0])


class Twins(RuleBasedStateMachine):
    """Asks both stores the same; trial ids are drawn by each store, so they are compared by study and number."""

    def __init__(self, database):
        super().__init__()
        empty(database)
        self.stores = (MemoryStore(lambda: EPOCH), open_store(database, lambda: EPOCH))
        self.names = ({}, {})
        self.leases = []
        self.now = 0.0

    def teardown(self):
        self.stores[1].close()

    def both(self, ask):
        """Asks both through `ask(store, id of the trial at a place)`; returns the pair of answers."""
        answers = tuple(self.answer(store, names, ask) for store, names in zip(self.stores, self.names, strict=True))
        plain = [self.without_ids(answer, names) for answer, names in zip(answers, self.names, strict=True)]
        assert plain[0] == plain[1]
        return answers

    def answer(self, store, names, ask):
        ids = sorted(names, key=names.get)
        try:
            return ask(store, lambda place: ids[place % len(ids)] if ids else "trial_none")
        except MergefrontError as error:
            return error.code

    def without_ids(self, answer, names):
        if isinstance(answer, tuple):
            return tuple(self.without_ids(part, names) for part in answer)
        if isinstance(answer, Trial):
            names.setdefault(answer.id, (answer.study_id, answer.number))
            return replace(answer, id="")
        if isinstance(answer, Lease):
            return replace(answer, trial_id=names[answer.trial_id])
        if isinstance(answer, str):
            return names.get(answer, answer)
        if isinstance(answer, Event):
            return replace(answer, data={**answer.data, "trial": names.get(answer.data.get("trial"))})
        return answer

    @rule(study_id=study_ids, status=st.sampled_from([StudyStatus.SUBMITTED, StudyStatus.RUNNING]))
    def add_study(self, study_id, status):
        self.both(lambda store, trial: store.add_study(Study(study_id, SPEC, status, EPOCH, EPOCH)))

    @rule(study_id=study_ids, then=st.sampled_from(StudyStatus), fails=st.booleans())
    def step_study(self, study_id, then, fails):
        failure = Failure("unmet", "too few") if fails else None
        self.both(lambda store, trial: store.step_study(study_id, then, failure))

    @rule(study_id=study_ids, count=st.integers(0, 3), off=st.sampled_from([0, 0, 0, 1]))
    def propose(self, study_id, count, off):
        proposals = [Proposal("verify", "report", (0.1 * place, 1.0), tasks=("b",) if place == 1 else ()) for place in range(count)]
        held = sum(study == study_id for study, _ in self.names[0].values())
        self.both(lambda store, trial: store.propose(study_id, held + off, proposals))

    @rule(place=places, seconds=seconds)
    def claim(self, place, seconds):
        leases = self.both(lambda store, trial: store.claim(trial(place), "w", seconds, self.now))
        if isinstance(leases[0], Lease):
            self.leases.append(leases)

    @rule(study_id=study_ids, count=st.integers(1, 3), seconds=seconds)
    def ask(self, study_id, count, seconds):
        leases = self.both(lambda store, trial: store.ask(study_id, "e", count, seconds, self.now))
        if isinstance(leases[0], tuple):
            self.leases += zip(*leases, strict=True)

    @rule(forward=st.sampled_from([1.0, 4.0, 20.0]))
    def wait(self, forward):
        self.now += forward

    @precondition(lambda self: self.leases)
    @rule(
        place=places, seconds=seconds, what=st.sampled_from(["renew", "release", "record", "record", "record_failure"]),
        tasks=st.sampled_from(["a", "b", "ab"]),
    )  # fmt: skip
    def write(self, place, seconds, what, tasks):
        pair = self.leases[place % len(self.leases)]
        arguments = {
            "renew": (seconds, self.now),
            "release": (),
            "record": (Measurement(dict.fromkeys(tasks, self.now / 3), {"a": "ab"}, seconds),),
            "record_failure": (Failure("measurement", "NaN"),),
        }[what]
        self.both(lambda store, trial: getattr(store, what)(pair[self.stores.index(store)], *arguments))

    @rule(study_id=study_ids)
    def finish(self, study_id):
        self.both(lambda store, trial: store.finish(Front(study_id, ("a", "b"), ("a",), (), (), Figures(self.now, {}))))

    @invariant()
    def tell_the_same(self):
        self.both(lambda store, trial: store.studies())
        self.both(lambda store, trial: store.stale_trials(self.now, 5))
        self.both(lambda store, trial: store.idle_studies())
        for study_id in STUDIES:
            self.compare_study(study_id)

    def compare_study(self, study_id):
        self.both(lambda store, trial: store.trials(study_id))
        self.both(lambda store, trial: store.events(study_id))
        self.both(lambda store, trial: store.front(study_id))


def empty(database):
    open_store(database).close()
    engine = create_engine(database)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    engine.dispose()


def test_databases_answer_as_memory_does(database):
    run_state_machine_as_test(lambda: Twins(database), settings=settings(max_examples=10, stateful_step_count=40, deadline=None))
