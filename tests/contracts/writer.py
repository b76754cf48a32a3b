"""A process that works through studies and says, after every write that returned, what it wrote: the victim of the kill test.

Run as `python writer.py DATABASE_URL`. One line a write on standard output: study id and the number of its newest event.
"""

import itertools
import sys
import time
from datetime import UTC, datetime

from app.domain.front import Figures, Front
from app.domain.ids import new_id
from app.domain.study import FactoryArchitecture, ModelSetSpec, Study, StudySpec, StudyStatus
from app.domain.trial import Measurement, Proposal
from app.store.port import Store
from app.store.sql import open_store


def say(store: Store, study_id: str) -> None:
    sys.stdout.write(f"{study_id} {len(store.events(study_id))}\n")
    sys.stdout.flush()


def work(store: Store) -> None:
    spec = StudySpec("digits", ModelSetSpec("base", {"a": "a", "b": "b"}), FactoryArchitecture("net.py", "Net"), ())
    now = datetime.now(UTC)
    study = Study(new_id("study"), spec, StudyStatus.SUBMITTED, now, now)
    store.add_study(study)
    store.step_study(study.id, StudyStatus.RUNNING)
    say(store, study.id)
    for trial in store.propose(study.id, 0, [Proposal("design", "search", (0.1, 0.2))] * 4):
        lease = store.claim(trial.id, "writer", 60.0, time.time())
        say(store, study.id)
        store.record(lease, Measurement({"a": 0.5}, {}, 0.1))
        say(store, study.id)
    store.finish(Front(study.id, ("a", "b"), ("a",), (), (), Figures(0.0, {})))
    say(store, study.id)


if __name__ == "__main__":
    opened = open_store(sys.argv[1])
    for _ in itertools.count():
        work(opened)
