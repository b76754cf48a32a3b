"""Which points are verified, which stand, which make the front."""

import pytest
import torch

from app.domain.study import FrontSpec, SpaceSpec, TransformSpec
from app.domain.trial import Proposal, TrialStatus
from surrogate.history import Diagnostics, History, Prediction, Scale
from workers.engine.arrays import Evidence
from workers.engine.selection import points_to_verify, select_points, standing_trials

TIES = TransformSpec("ties", density=0.2)


class Bowl:
    """A surrogate that knows: score = ‖c - optimum‖² + `offset`, smaller is better."""

    def __init__(self, optimum, offset=0.0):
        self.optimum, self.offset = torch.tensor(optimum, dtype=torch.float64), offset
        self.diagnostics = Diagnostics("bowl", 0, 1.0, 1.0, 0.0, (), {})

    def predict(self, coefficients):
        score = -self.utility(coefficients)
        return Prediction(score, score, score, score)

    def utility(self, coefficients):
        return -(coefficients - self.optimum).square().sum(1) - self.offset


@pytest.fixture
def fits():
    return {"left": Bowl((1.0, 0.0)), "right": Bowl((0.0, 1.0))}


@pytest.fixture
def evidence(spec):
    def build(points=10, verify=3):
        history = History(torch.zeros(0, 2, dtype=torch.float64), torch.zeros(0, dtype=torch.float64), Scale(0.0, None, maximize=False))
        return Evidence(spec(front=FrontSpec(points, verify)), {"left": history, "right": history}, torch.eye(2), ("all",))

    return build


@pytest.fixture
def verified(trial):
    def build(*rows):
        return [trial(number, Proposal("verify", "search", at), left=left, right=right) for number, (at, left, right) in enumerate(rows)]

    return build


def scores(at):
    return (at[0] - 1) ** 2 + at[1] ** 2, at[0] ** 2 + (at[1] - 1) ** 2


class TestPointsToVerify:
    @pytest.mark.parametrize(
        ("verify", "expected"),
        [(8, [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), (1, [[0.5, 0.5]])],
        ids=["both ends and the middle", "the middle where there is no room for the ends"],
    )
    def test_what_the_front_reaches(self, evidence, fits, verify, expected):
        points = points_to_verify(evidence(40, verify), fits, [])
        assert len(points) == verify
        assert float(torch.cdist(torch.tensor(expected, dtype=torch.float64), points).min(1).values.max()) < 0.1

    def test_the_balanced_one_comes_first(self, evidence, trial):
        fits = {"left": Bowl((1.0, 0.0), 0.5), "right": Bowl((0.0, 1.0), 0.5)}
        alone = [
            trial(0, Proposal("baseline", "search", (1.0, 0.0), "left"), left=0.5, right=2.5),
            trial(1, Proposal("baseline", "search", (0.0, 1.0), "right"), left=2.5, right=0.5),
        ]
        (only,) = points_to_verify(evidence(points=40, verify=1), fits, alone)
        assert float((only - 0.5).abs().max()) < 0.05

    def test_no_more_than_asked(self, evidence, fits):
        assert len(points_to_verify(evidence(points=4, verify=8), fits, [])) <= 4


class TestStandingTrials:
    def test_none_verified_none_stand(self, spec):
        assert standing_trials(spec(), []) == ()

    def test_the_beaten_leave(self, spec, verified):
        trials = verified(((0.9, 0.1), 0.1, 0.5), ((0.8, 0.1), 0.2, 0.6), ((0.1, 0.9), 0.5, 0.1))
        assert [trial.number for trial in standing_trials(spec(), trials)] == [0, 2]

    def test_failed_verification_beats_nobody(self, spec, verified, trial):
        failed = trial(9, Proposal("verify", "search", (0.5, 0.5)), TrialStatus.FAILED, left=0.0, right=0.0)
        assert len(standing_trials(spec(), [*verified(((0.9, 0.1), 0.1, 0.5)), failed])) == 1

    def test_a_design_trial_takes_the_place_of_the_verified_point_that_it_beats(self, spec, verified, trial):
        better = trial(7, Proposal("design", "search", (0.4, 0.4)), left=0.05, right=0.4)
        trials = [*verified(((0.9, 0.1), 0.05, 0.5), ((0.1, 0.9), 0.5, 0.05)), better]
        assert [trial.number for trial in standing_trials(spec(), trials)] == [1, 7]

    def test_a_design_trial_that_beats_no_verified_point_is_no_part_of_the_front(self, spec, verified, trial):
        aside = trial(7, Proposal("design", "search", (0.4, 0.4)), left=0.1, right=0.4)
        trials = [*verified(((0.9, 0.1), 0.05, 0.5)), aside]
        assert [trial.number for trial in standing_trials(spec(), trials)] == [0]

    @pytest.mark.parametrize(
        ("changes", "standing"),
        [
            ({}, [1, 7]),
            ({"transform": TIES}, [0, 1]),
            ({"space": SpaceSpec(high=0.3)}, [0, 1]),
        ],
    )
    def test_a_baseline_is_a_rival_where_the_front_could_hold_it(self, spec, verified, trial, changes, standing):
        better = trial(7, Proposal("baseline", "search", (0.4, 0.4), "task_arithmetic 0.4"), left=0.05, right=0.4)
        trials = [*verified(((0.9, 0.1), 0.05, 0.5), ((0.1, 0.9), 0.5, 0.05)), better]
        assert [trial.number for trial in standing_trials(spec(**changes), trials)] == standing

    def test_a_baseline_that_repeats_a_trial_does_not_count_twice(self, spec, verified, trial):
        again = trial(7, Proposal("baseline", "search", (0.9, 0.1)), left=0.05, right=0.4)
        assert [trial.number for trial in standing_trials(spec(), [*verified(((0.9, 0.1), 0.05, 0.5)), again])] == [0]


class TestSelectPoints:
    def test_verified_points_are_on_the_front_with_their_trials(self, evidence, fits, verified):
        at = (0.6, 0.4)
        standing = verified((at, *scores(at)))
        selection = select_points(evidence(), fits, standing)
        place = selection.measured.index(standing[0])
        assert tuple(selection.coefficients[place].tolist()) == at
        assert sum(trial is not None for trial in selection.measured) == 1

    def test_a_verified_point_takes_the_place_of_the_nearest_candidate(self, evidence, fits, verified):
        bare = select_points(evidence(), fits, [])
        at = tuple((bare.coefficients[4] + 0.001).tolist())
        selection = select_points(evidence(), fits, verified((at, *scores(at))))
        assert len(selection.coefficients) == len(bare.coefficients)
        spacing = torch.cdist(selection.coefficients, selection.coefficients).fill_diagonal_(1.0).min()
        assert float(spacing) > 0.02

    def test_candidates_that_a_measurement_beats_leave(self, evidence, fits, verified):
        """The middle is measured better than anything is predicted to be around it."""
        selection = select_points(evidence(), fits, verified(((0.5, 0.5), 0.3, 0.3)))
        others = torch.stack([row for row, trial in zip(selection.coefficients, selection.measured, strict=True) if trial is None])
        predicted = torch.stack([fit.predict(others).mean for fit in fits.values()], 1)
        assert not bool((predicted >= 0.3).all(1).any())

    def test_a_measurement_that_beats_everything_is_the_front(self, evidence, fits, verified):
        selection = select_points(evidence(), fits, verified(((0.5, 0.5), 0.0, 0.0)))
        assert selection.coefficients.tolist() == [[0.5, 0.5]]

    def test_never_more_than_asked(self, evidence, fits, verified):
        rows = [((place / 10, 1 - place / 10), *scores((place / 10, 1 - place / 10))) for place in range(1, 4)]
        assert len(select_points(evidence(points=3), fits, verified(*rows)).coefficients) == 3
        assert len(select_points(evidence(points=12), fits, verified(*rows)).coefficients) <= 12

    def test_best_of_the_first_task_first(self, evidence, fits):
        left = fits["left"].predict(select_points(evidence(), fits, []).coefficients).mean.tolist()
        assert left == sorted(left)
