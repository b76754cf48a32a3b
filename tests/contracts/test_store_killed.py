"""A writer is killed at any moment: what it was told is written is there, and what is there fits together."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, text

from app.domain.errors import NotFoundError
from app.domain.study import StudyStatus
from app.domain.trial import TrialStatus
from app.store.sql import open_store

WRITER = Path(__file__).with_name("writer.py")
KILLS = 6


def kill_while_writing(url, chance):
    """Lets a writer begin, kills it somewhat later, and returns its newest event number by study."""
    writer = subprocess.Popen([sys.executable, WRITER, url], stdout=subprocess.PIPE, text=True)
    said = [writer.stdout.readline()]
    try:
        writer.wait(chance.uniform(0.0, 0.25))
    except subprocess.TimeoutExpired:
        writer.kill()
    said += writer.communicate()[0].splitlines(keepends=True)
    assert writer.returncode == -signal.SIGKILL
    whole = [line.split() for line in said if line.endswith("\n")]
    assert whole
    return {study_id: int(number) for study_id, number in whole}


def assert_fits_together(store, study):
    events = store.events(study.id)
    kinds = [event.kind for event in events]
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [kind for kind in kinds if kind.startswith("study.")][-1] == f"study.{study.status}"
    assert has_front(store, study.id) == (study.status is StudyStatus.FINISHED)
    trials = store.trials(study.id)
    assert len(trials) == (4 if "trials.proposed" in kinds else 0)
    for trial in trials:
        told = [event.kind for event in events if event.data.get("trial") == trial.id]
        assert told[-1:] == ([] if trial.status is TrialStatus.PROPOSED else [f"trial.{trial.status}"])
        assert bool(trial.scores) == (trial.status is TrialStatus.FINISHED)


def has_front(store, study_id):
    try:
        return store.front(study_id).study_id == study_id
    except NotFoundError:
        return False


def test_records_survive_sigkill(database):
    chance = random.Random(1)
    newest = ""
    for _ in range(KILLS):
        said = kill_while_writing(database, chance)
        store = open_store(database)
        written = {study.id: study for study in store.studies(after=newest, limit=10_000)}
        for study in written.values():
            assert_fits_together(store, study)
        for study_id, number in said.items():
            assert len(store.events(written[study_id].id)) >= number
        newest = max(written)
        store.close()


def test_sqlite_files_stay_whole(database):
    kill_while_writing(database, random.Random(2))
    engine = create_engine(database)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    engine.dispose()
