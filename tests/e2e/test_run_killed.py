"""`mergefront run` killed without warning and started again, as real processes."""

import csv
import random
import sqlite3
import time
from contextlib import closing

import pytest

from app.domain.trial import MAX_ATTEMPTS
from tests.command_line import finish, mergefront, start
from tests.digits_set import NET, write_digits_set

SLOW = NET + """\

    def forward(self, images):
        import time

        time.sleep(0.03)  # long enough to be killed within
        return super().forward(images)
"""
# the study measures 12 design trials, 10 baselines, 3 verifications, and then at least 7 on the report split
STAGES = [range(1, 12), range(12, 24), range(25, 31)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_digits_set(tmp_path_factory.mktemp("set"), upright="upright", inverted="inverted")


@pytest.fixture(scope="module")
def undisturbed(manifest, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert mergefront("run", manifest, "--out", run).code == 0
    return run


def measured(run):
    """What is on record of every trial that is finished, by its number."""
    try:
        with closing(sqlite3.connect(f"file:{run}/state/study.sqlite?mode=ro", uri=True)) as records:
            found = records.execute("SELECT number, id, measurement FROM trials WHERE status = 'finished'").fetchall()
    except sqlite3.OperationalError as error:
        assert str(error) in ("unable to open database file", "no such table: trials"), error  # the run has only begun
        return {}
    return {number: rest for number, *rest in found}


def kill_once(manifest, run, trials):
    """Runs the study until so many trials are on record, and kills it there."""
    process = start("run", manifest, "--out", run)
    while len(measured(run)) < trials:
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    process.kill()
    assert finish(process).code < 0


def table(file, *without):
    return [{key: value for key, value in row.items() if key not in without} for row in csv.DictReader(file.read_text().splitlines())]


class TestKilled:
    def test_it_goes_on_and_finds_the_same_front(self, manifest, undisturbed, tmp_path):
        manifest.with_name("net.py").write_text(SLOW)
        run, draw = tmp_path / "run", random.Random(0)
        before = {}
        for stage in STAGES:
            kill_once(manifest, run, draw.choice(stage))
            now = measured(run)
            assert now.items() >= before.items(), "a finished trial never changes"
            assert not (run / "front.json").exists()
            before = now
        ended = finish(start("run", manifest, "--out", run))
        assert ended.code == 0, ended.err
        after = measured(run)
        assert after.items() >= before.items() and after.keys() == measured(undisturbed).keys()
        assert (run / "front.csv").read_bytes() == (undisturbed / "front.csv").read_bytes()
        assert table(run / "trials.csv", "seconds") == table(undisturbed / "trials.csv", "seconds")


DEADLY = NET + """\

    def forward(self, images):
        import os
        from pathlib import Path

        deaths = Path(__file__).with_name("deaths")
        if len(images) > 1 and deaths.stat().st_size < {deaths}:  # the check before the study sees one example
            with deaths.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), 9)
        return super().forward(images)
"""


class TestKilledAgainAndAgain:
    def test_within_one_trial_the_trial_is_not_at_fault(self, tmp_path):
        manifest = write_digits_set(tmp_path, upright="upright", inverted="inverted")
        (tmp_path / "net.py").write_text(DEADLY.format(deaths=MAX_ATTEMPTS + 1))
        (tmp_path / "deaths").touch()
        for _ in range(MAX_ATTEMPTS + 1):
            assert finish(start("run", manifest, "--out", tmp_path / "run")).code < 0
        assert mergefront("run", manifest, "--out", tmp_path / "run").code == 0
        assert {row["status"] for row in table(tmp_path / "run" / "trials.csv")} == {"finished"}
