"""How often the sweeper sends the same, and which bytes it deletes."""

from datetime import UTC, datetime

from app.blobs.memory import MemoryBlobs
from app.domain.upload import Holding
from app.jobs.inline import InlineJobs
from app.store.memory_catalog import MemoryCatalog
from workers.sweeper import PatientJobs, sweep_blobs


def rounds(times, afresh=()):
    """At which of `times` a trial that waits all the while is sent."""
    sent, now = [], [0.0]
    jobs = InlineJobs()
    patient = PatientJobs(jobs, 5.0, lambda: now[0])
    for time in times:
        now[0] = time
        patient.begin(afresh=time in afresh)
        patient.send("measure_trial", "trial_1")
        sent += [time for _ in jobs.drain({"measure_trial": lambda trial: None})]
    return sent


def test_what_waits_its_turn_is_sent_at_doubling_times():
    assert rounds(range(0, 100, 5)) == [0, 5, 15, 35, 75]


def test_what_was_lost_with_the_broker_is_sent_at_once():
    assert rounds(range(0, 60, 5), afresh={25}) == [0, 5, 15, 25, 30, 40]


def test_what_was_taken_meanwhile_is_sent_at_once_when_it_is_lost_again():
    jobs = InlineJobs()
    patient = PatientJobs(jobs, 5.0, lambda: 0.0)
    for wanted in (True, False, True):
        patient.begin(afresh=False)
        if wanted:
            patient.send("measure_trial", "trial_1")
            assert len(list(jobs.drain({"measure_trial": lambda trial: None}))) == 1


def test_bytes_that_nobody_holds_go_after_their_time(tmp_path):
    clock = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (1, 2)]
    times = iter(clock)
    catalog, blobs = MemoryCatalog(clock=lambda: next(times)), MemoryBlobs(tmp_path)
    early, late, held = (blobs.put(content) for content in (b"early", b"late", b"held"))
    for digest in (early, late, held):
        catalog.hold("acme", Holding(digest, 5))
    for digest in (early, late):
        catalog.let_go("acme", digest)
    assert sweep_blobs(catalog, blobs, clock[1]) == 1
    assert [blobs.has(digest) for digest in (early, late, held)] == [False, True, True]
    assert sweep_blobs(catalog, blobs, datetime(2026, 1, 2, tzinfo=UTC)) == 1
    assert [blobs.has(digest) for digest in (early, late, held)] == [False, False, True]
