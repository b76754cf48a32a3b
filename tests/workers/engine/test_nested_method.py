"""Nested merging as a study: pairs level by level over trials that measure the pair's tasks only."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from app.domain.study import FactoryArchitecture, FrontSpec, MethodSpec, ModelSetSpec, StudySpec, StudyStatus
from app.domain.task import SplitShares, TaskSpec
from app.domain.trial import Proposal, TrialStatus
from checkpoints.pairing import Pairing
from workers.engine.nested_method import level_of, levels
from workers.engine.plan import plan
from workers.engine.stages import Await, Propose, Stage, searched
from workers.evaluators.protocol import Evaluation

NAMES = ("one", "two", "three", "four")
PROPOSED, MEASURING, OFFERED, ASKED, FINISHED, FAILED = TrialStatus


def spec_of(*preferences, budget=40, seed=0):
    return StudySpec(
        name="nested",
        models=ModelSetSpec("base", {name: name for name in NAMES}),
        architecture=FactoryArchitecture("net.py", "Net"),
        tasks=tuple(TaskSpec(name, f"{name}.csv", "mse", SplitShares()) for name in NAMES),
        method=MethodSpec("nested", "output", budget, seed, preferences=preferences),
        front=FrontSpec(points=12, verify=2),
        baselines=(),
    )


class Bowl:
    """Outputs affine in the coefficients whose mean squared error is .1 + ‖c - peak‖², peak = .6 (e_t + .3)."""

    def __init__(self, place, tuned):
        draw = torch.Generator().manual_seed(place)
        columns = torch.linalg.qr(torch.randn(32, tuned + 1, generator=draw, dtype=torch.float64))[0] * 32**0.5
        self.slopes = columns[:, :tuned]
        peak = 0.6 * (torch.eye(tuned, dtype=torch.float64)[place] + 0.3)
        self.target = (self.slopes @ peak + 0.1**0.5 * columns[:, tuned])[:, None]

    classes = None

    def examples(self, split):
        return 32

    def outputs(self, coefficients):
        return self.slopes @ torch.tensor(coefficients, dtype=torch.float64)[:, None]

    def score(self, outputs):
        return (outputs.double() - self.target).square().mean((-2, -1))

    smooth = score


class Bowls:
    """A task for every tuned model, the task vectors orthogonal."""

    plan = "bowls"
    group_labels = ("all",)
    pairing = Pairing()

    def __init__(self, names):
        self.asked = Counter()
        self.scorers = {name: Bowl(place, len(names)) for place, name in enumerate(names)}
        self.gram = torch.eye(len(names), dtype=torch.float64)

    def evaluate(self, proposal):
        self.asked[proposal] += 1
        outputs = {name: self.scorers[name].outputs(proposal.coefficients) for name in proposal.tasks or self.scorers}
        return Evaluation({name: float(self.scorers[name].score(found)) for name, found in outputs.items()}, outputs)


@pytest.fixture
def searched_house(house):
    def make(spec):
        built = house(spec)
        built.evaluator = Bowls(tuple(spec.models.tuned))
        return built

    return make


class TestSteps:
    def test_level_after_level_then_the_closing_stages(self, searched_house):
        built = searched_house(spec_of())
        built.finish()
        found = [level_of(trial) for trial in built.trials]
        assert found == sorted(found[: len(searched(built.trials))]) + [0] * (len(found) - len(searched(built.trials)))
        assert max(found) == levels(spec_of()) == 2

    def test_open_trials_of_a_level_are_waited_for(self, searched_house, trial):
        built = searched_house(spec_of())
        built.run(jobs=1)
        first = trial(0, Proposal("design", "search", (0.0,) * 4), FINISHED)
        late = trial(1, Proposal("adaptive", "search", (0.5, 0.5, 0.0, 0.0), "level 1", tasks=("one", "two")), PROPOSED)
        assert plan(built.study, [first]) == Propose(Stage.LEVEL)
        assert plan(built.study, [first, late]) == Await(("trial_1",))


class TestTrials:
    def test_a_pair_measures_its_own_tasks_on_its_own_plane(self, searched_house):
        built = searched_house(spec_of())
        built.finish()
        first = [trial for trial in built.trials if level_of(trial) == 1]
        assert {len(trial.proposal.tasks) for trial in first} == {2}
        for trial in first:
            held = {name for name, c in zip(NAMES, trial.proposal.coefficients, strict=True) if c}
            assert held <= set(trial.proposal.tasks) == set(trial.scores)

    def test_the_last_pair_measures_every_task(self, searched_house):
        built = searched_house(spec_of())
        built.finish()
        assert {trial.proposal.tasks for trial in built.trials if level_of(trial) == 2} == {()}

    def test_the_budget_holds(self, searched_house):
        built = searched_house(spec_of(budget=30))
        built.finish()
        assert len(searched(built.trials)) <= 30

    def test_fewer_task_evaluations_than_measuring_all_tasks_of_every_trial(self, searched_house):
        built = searched_house(spec_of())
        built.finish()
        fed = searched(built.trials)
        assert sum(len(trial.scores) for trial in fed) < 0.8 * len(NAMES) * len(fed)


class TestResult:
    def test_one_preference_gives_one_good_point(self, searched_house):
        """Equal weights: the best merge is the mean of the peaks, 0.33 each; the tasks' relative losses there are equal."""
        front = searched_house(spec_of()).finish()
        verified = [point for point in front.points if point.search]
        assert len(front.points) == len(verified) >= 1
        ideal = Bowls(NAMES).evaluate(Proposal("verify", "search", (0.33,) * 4)).scores["one"]
        assert min(max(point.search.values()) for point in verified) < 1.35 * ideal

    def test_preferences_lead_to_points_of_their_own_and_share_the_first_level(self, searched_house):
        wishes = ({"one": 8.0, "two": 1.0, "three": 1.0, "four": 1.0}, {"one": 1.0, "two": 1.0, "three": 1.0, "four": 8.0})
        built = searched_house(spec_of(*wishes, budget=60))
        front = built.finish()
        best_one = min(front.points, key=lambda point: point.predicted["one"].score)
        best_four = min(front.points, key=lambda point: point.predicted["four"].score)
        assert best_one.coefficients[0] > best_four.coefficients[0]
        assert best_four.coefficients[3] > best_one.coefficients[3]
        by_level = Counter(level_of(trial) for trial in built.trials)
        assert by_level[2] > by_level[1] / 2

    def test_a_killed_study_ends_at_the_same_points_and_measures_nothing_twice(self, searched_house):
        undisturbed = searched_house(spec_of()).finish()
        built = searched_house(spec_of())
        for _ in range(8):
            built.run(jobs=5)
            built.start_again()
        built.run()
        assert built.study.status is StudyStatus.FINISHED
        assert built.store.front(built.study.id).points == undisturbed.points
        assert max(built.evaluator.asked.values()) == 1

    def test_a_failed_trial_is_left_out(self, searched_house, unmeasurable):
        built = searched_house(spec_of())
        whole = built.evaluator.evaluate
        fault = unmeasurable(lambda proposal: sum(proposal.coefficients) > 1.7 and proposal.split == "search")
        built.evaluator.evaluate = lambda proposal: fault(proposal) or whole(proposal)
        assert built.finish().evaluations["failed"] >= 1


def test_three_models_leave_one_alone_on_the_first_level(searched_house):
    spec = spec_of()
    three = replace(spec, models=ModelSetSpec("base", {name: name for name in NAMES[:3]}), tasks=spec.tasks[:3])
    built = searched_house(three)
    assert built.finish().points
