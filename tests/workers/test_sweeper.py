"""How often the sweeper sends the same."""

from app.jobs.inline import InlineJobs
from workers.sweeper import PatientJobs


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
