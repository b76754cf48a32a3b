"""Studies whose tasks are scored elsewhere, all of them or some: the engine goes on when both halves of its trials are in."""

from dataclasses import replace

import pytest

from app.domain.study import StudyStatus
from app.domain.task import ExternalTask
from app.domain.trial import Measurement, TrialStatus
from tests.workers.engine.conftest import STUDY, AnalyticEvaluator

RIGHT = ExternalTask("right", "squared error", maximize=False, low=0.0)
LEFT = replace(RIGHT, name="left")


@pytest.fixture
def run(house, spec):
    """Runs a study with these external tasks to its end, an evaluator answering by the formula; the house."""

    def run(*elsewhere, **changes):
        plain = spec(**changes)
        named = {task.name: task for task in elsewhere}
        built = house(replace(plain, tasks=tuple(named.get(task.name, task) for task in plain.tasks)))
        everything = AnalyticEvaluator(plain)
        built.evaluator.scorers = {name: task for name, task in built.evaluator.scorers.items() if name not in named}
        built.run()
        while leases := built.store.ask(STUDY, "e", 3, 60.0, 0.0):
            for lease in leases:
                found = everything.evaluate(built.store.trial(lease.trial_id).proposal).scores
                built.store.record(lease, Measurement({name: found[name] for name in named}, {}, 0.0))
            built.jobs.send("advance_study", STUDY)
            built.run()
        return built

    return run


@pytest.mark.parametrize("elsewhere", [(RIGHT,), (LEFT, RIGHT)], ids=["some", "all"])
def test_the_front_is_that_of_a_study_measured_here(run, house, elsewhere):
    assert house().finish().points == run(*elsewhere).store.front(STUDY).points


def test_batches_follow_as_scores_come_in(run, spec):
    built = run(LEFT, RIGHT, method=replace(spec().method, name="bayesian"))
    assert built.study.status is StudyStatus.FINISHED
    assert sum(trial.proposal.origin == "adaptive" for trial in built.trials) > 1


def test_workers_measure_their_half_alone(run):
    built = run(RIGHT)
    assert built.study.status is StudyStatus.FINISHED
    assert all(trial.scores.keys() == {"left", "right"} and trial.outputs.keys() <= {"left"} for trial in built.trials)


def test_workers_measure_nothing_where_all_is_elsewhere(run):
    assert not run(LEFT, RIGHT).evaluator.asked


def test_no_wake_up_is_sent_for_what_no_worker_can_measure(house, spec):
    built = house(replace(spec(), tasks=(LEFT, RIGHT)))
    built.run()
    built.jobs.send("advance_study", STUDY)
    ran = list(built.jobs.drain(built.handlers))
    assert [job.name for job in ran] == ["advance_study"]
    assert {trial.status for trial in built.trials} == {TrialStatus.OFFERED}


def test_output_falls_back_to_a_process_of_the_scores_and_says_so(run, spec):
    front = run(RIGHT, method=replace(spec().method, surrogate="output")).store.front(STUDY)
    fits = {fit.task: fit for fit in front.fits}
    assert (fits["left"].surrogate, fits["right"].surrogate) == ("output", "gp")
    assert "gp in place of output" in fits["right"].details["choice"]
