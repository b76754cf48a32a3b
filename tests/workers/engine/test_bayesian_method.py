"""The Bayesian method: what is due for every state of its trials, and whole studies from the first design to the front."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.study import FrontSpec, MethodSpec, Study, StudyStatus
from app.domain.trial import Proposal, TrialStatus
from app.jobs.inline import InlineJobs
from workers.engine.measure import measure
from workers.engine.plan import plan
from workers.engine.stages import Await, Finish, Propose, Stage, open_trials, searched

PROPOSED, MEASURING, OFFERED, ASKED, FINISHED, FAILED = TrialStatus
BORN = datetime(2026, 1, 1, tzinfo=UTC)
METHOD = MethodSpec("bayesian", "output", budget=12, seed=1, acquisition="output", batch=2, tolerance=0.05, patience=2)


@pytest.fixture
def study(spec):
    def build(revision=0, **changes):
        wanted = spec("accuracy", method=replace(METHOD, **changes), baselines=())
        return Study("study_1", wanted, StudyStatus.RUNNING, BORN, BORN, revision=revision)

    return build


@pytest.fixture
def rows(trial):
    """Trials of (origin, split, status, score on the left), the right one's score going down as it goes up."""

    def build(*wanted):
        return [
            trial(number, Proposal(origin, split, (0.1 * number, 0.2)), status, left=score, right=0.4 if number == 0 else 0.5)
            for number, (origin, split, status, score) in enumerate(wanted)
        ]

    return build


DESIGN = [("design", "search", FINISHED, score) for score in (0.1, 0.2, 0.3, 0.4)]


class TestSteps:
    def test_the_design_comes_first(self, study):
        assert plan(study(), []) == Propose(Stage.DESIGN)

    def test_a_full_batch_that_is_open_is_waited_for(self, study, rows):
        trials = rows(*DESIGN, ("adaptive", "search", PROPOSED, 0), ("adaptive", "search", MEASURING, 0))
        assert plan(study(), trials) == Await(("trial_4", "trial_5"))

    def test_the_next_batch_is_due_while_one_trial_is_still_open(self, study, rows):
        trials = rows(*DESIGN, ("adaptive", "search", FINISHED, 0.5), ("adaptive", "search", MEASURING, 0))
        assert plan(study(), trials) == Propose(Stage.ADAPTIVE)

    def test_too_few_results_are_waited_for(self, study, rows):
        trials = rows(*DESIGN[:2], ("design", "search", MEASURING, 0))
        assert plan(study(), trials) == Await(("trial_2",))

    def test_a_quadratic_waits_for_all_that_it_needs(self, study, rows):
        trials = rows(*DESIGN, ("design", "search", MEASURING, 0))
        assert plan(study(surrogate="quadratic"), trials) == Await(("trial_4",))

    def test_a_spent_budget_closes(self, study, rows):
        spent = rows(*DESIGN, *[("adaptive", "search", FINISHED, 0.5 + 0.1 * n) for n in range(2)])
        assert plan(study(budget=6), spent) == Propose(Stage.VERIFY)

    def test_open_trials_are_waited_for_before_closing(self, study, rows):
        trials = rows(*DESIGN, ("adaptive", "search", FINISHED, 0.5), ("adaptive", "search", PROPOSED, 0))
        assert plan(study(budget=6), trials) == Await(("trial_5",))


class TestStopping:
    def test_batches_without_gain_end_the_search(self, study, rows):
        trials = rows(*DESIGN, *[("adaptive", "search", FINISHED, 0.3)] * 4)
        assert plan(study(), trials) == Propose(Stage.VERIFY)

    def test_one_batch_that_gains_starts_the_count_again(self, study, rows):
        gains = (0.3, 0.3, 0.9, 0.3, 0.3, 0.3)
        assert plan(study(), rows(*DESIGN, *[("adaptive", "search", FINISHED, gain) for gain in gains])) == Propose(Stage.ADAPTIVE)

    def test_what_came_later_does_not_open_the_search_again(self, study, rows):
        late = rows(*DESIGN, *[("adaptive", "search", FINISHED, gain) for gain in (0.3, 0.3, 0.3, 0.3, 0.9, 0.9)])
        assert plan(study(), late) == Propose(Stage.VERIFY)

    def test_a_batch_with_an_open_trial_does_not_count_yet(self, study, rows):
        trials = rows(*DESIGN, *[("adaptive", "search", FINISHED, 0.3)] * 3, ("adaptive", "search", MEASURING, 0))
        assert plan(study(), trials) == Propose(Stage.ADAPTIVE)


class TestExtension:
    def test_an_extension_searches_on_though_nothing_was_gained(self, study, rows):
        closing = [("verify", "search", FINISHED, 0.3), ("verify", "report", FINISHED, 0.3)]
        closed = [*DESIGN, *[("adaptive", "search", FINISHED, 0.3)] * 4, *closing]
        assert plan(study(), rows(*closed)) == Finish()
        assert plan(study(revision=1, budget=14), rows(*closed)) == Propose(Stage.ADAPTIVE)
        again = rows(*closed, *[("adaptive", "search", FINISHED, 0.3)] * 4)
        assert plan(study(revision=1, budget=14), again) == Propose(Stage.VERIFY)


@pytest.fixture
def wanted(spec):
    return spec("accuracy", method=replace(METHOD, tolerance=0.0), front=FrontSpec(points=12, verify=2), baselines=())


@pytest.fixture
def quick(wanted):
    """The same by quadratics, whose fits and fronts take no time: for tests of what is proposed when, not of what."""
    return replace(wanted, method=replace(wanted.method, surrogate="quadratic", acquisition="bins"))


class TestWholeStudies:
    def test_the_budget_is_spent_in_batches_after_a_small_design(self, house, wanted):
        built = house(wanted)
        front = built.finish()
        origins = [trial.proposal.origin for trial in built.trials if trial.proposal.split == "search"]
        assert origins.count("design") == 4
        assert origins.count("adaptive") == 8
        assert front.evaluations["adaptive:search"] == 8
        assert front.points

    def test_equal_specs_give_equal_trials(self, house, wanted):
        first, second = house(wanted), house(wanted)
        assert first.finish().points == second.finish().points
        assert [trial.proposal for trial in first.trials] == [trial.proposal for trial in second.trials]

    def test_a_killed_study_goes_on_and_measures_nothing_twice(self, house, quick):
        undisturbed = house(quick)
        undisturbed.finish()
        built = house(quick)
        built.run(jobs=9)
        built.start_again()
        built.finish()
        assert max(built.evaluator.asked.values()) == 1
        assert len(built.trials) == len(undisturbed.trials)

    @pytest.mark.parametrize(("surrogate", "acquisition"), [("quadratic", "bins"), ("gp", "qlognehvi")])
    def test_other_acquisitions_and_surrogates(self, house, wanted, surrogate, acquisition):
        method = replace(wanted.method, surrogate=surrogate, acquisition=acquisition, budget=8)
        built = house(replace(wanted, method=method))
        assert built.finish().points
        assert sum(trial.proposal.origin == "adaptive" for trial in built.trials) >= 2

    def test_workers_are_never_idle(self, house, quick):
        """Whenever a trial is done while the search goes on, another one is open, and wake-ups for the next batch come in time."""
        built = house(quick)
        built.run(jobs=1)
        while len(searched(built.trials)) < quick.method.budget:
            built.jobs = InlineJobs()
            measure(built.workshop, open_trials(built.trials)[0])
            built.run(jobs=1 if built.jobs.waiting else 0)
            assert open_trials(built.trials)

    def test_what_is_open_is_not_proposed_again(self, house, wanted):
        built = house(wanted)
        built.finish()
        proposed = [trial.proposal.coefficients for trial in searched(built.trials)]
        assert len(set(proposed)) == len(proposed)
