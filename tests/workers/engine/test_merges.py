"""Looking trials up by what was merged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.columns import columns, provisional_columns
from app.domain.study import SpaceSpec, TransformSpec
from app.domain.trial import Proposal, TrialStatus
from workers.engine.merges import fitted_trials, measured_scores, merge_of, without_repeats

TIES = TransformSpec("ties", density=0.2)

proposals = st.builds(
    Proposal,
    origin=st.sampled_from(["design", "verify", "baseline"]),
    split=st.sampled_from(["search", "report"]),
    coefficients=st.tuples(st.sampled_from([0.0, -0.0, 0.5]), st.sampled_from([0.0, 1.0])),
    transform=st.sampled_from([TransformSpec(), TIES]),
)


class TestMergeOf:
    def test_the_base_is_the_base_under_every_transform(self):
        assert merge_of(Proposal("design", "search", (0.0, 0.0), transform=TIES)) == merge_of(Proposal("baseline", "search", (0.0, 0.0)))

    def test_elsewhere_the_transform_counts(self):
        assert merge_of(Proposal("design", "search", (1.0, 0.0), transform=TIES)) != merge_of(Proposal("design", "search", (1.0, 0.0)))


class TestWithoutRepeats:
    @given(st.lists(proposals, max_size=12))
    def test_keeps_the_first_of_each_merge_and_split_in_order(self, given_proposals):
        expected, seen = [], set()
        for proposal in given_proposals:
            key = (proposal.split, merge_of(proposal))
            if key not in seen:
                expected.append(proposal)
            seen.add(key)
        assert list(without_repeats(given_proposals)) == expected


class TestTrials:
    @pytest.fixture
    def trials(self, trial):
        return [
            trial(0, Proposal("design", "search", (0.1, 0.2)), mse=0.5),
            trial(1, Proposal("baseline", "search", (0.3, 0.3)), mse=0.4),
            trial(2, Proposal("verify", "search", (0.5, 0.6)), mse=0.3),
            trial(3, Proposal("verify", "search", (0.7, 0.6)), TrialStatus.FAILED),
            trial(4, Proposal("verify", "report", (0.5, 0.6)), mse=0.35),
            trial(5, Proposal("baseline", "search", (0.1, 0.2)), mse=0.9),
            trial(6, Proposal("design", "search", (0.8, 0.2)), TrialStatus.PROPOSED),
        ]

    def test_surrogates_learn_from_finished_search_trials_that_are_no_baselines(self, trials):
        assert [trial.number for trial in fitted_trials(trials)] == [0, 2]

    def test_surrogates_do_not_learn_the_same_twice(self, trials, trial):
        same = trial(7, Proposal("verify", "search", (0.1, 0.2)), mse=0.5)
        other = trial(8, Proposal("verify", "search", (0.1, 0.2)), mse=0.6)
        assert [one.number for one in fitted_trials([*trials, same, other], "mse")] == [0, 2, 8]

    def test_the_first_measurement_of_a_merge_counts(self, trials):
        search = measured_scores(trials, "search")
        assert search[(0.1, 0.2), TransformSpec()] == {"mse": 0.5}
        assert len(search) == 3

    def test_splits_are_kept_apart(self, trials):
        assert measured_scores(trials, "report") == {((0.5, 0.6), TransformSpec()): {"mse": 0.35}}


class TestColumns:
    def test_a_tuned_model_without_groups_is_its_name(self, spec):
        assert columns(spec(tuned=3), ("all",)) == provisional_columns(spec(tuned=3), 3) == ("left", "right", "third")

    def test_blocks_go_by_their_labels(self, spec):
        grouped = spec(space=SpaceSpec(groups="block"))
        assert columns(grouped, ("prologue", "layers.0"))[1:3] == ("left:layers.0", "right:prologue")

    def test_blocks_are_numbered_until_the_weights_name_them(self, spec):
        grouped = spec(space=SpaceSpec(groups="block"))
        assert provisional_columns(grouped, 4) == ("left:block.0", "left:block.1", "right:block.0", "right:block.1")

    def test_patterns_name_their_group_and_what_none_matches_is_the_rest(self, spec):
        patterned = spec(space=SpaceSpec(groups=("attention", "mlp")))
        assert provisional_columns(patterned, 4) == ("left:attention", "left:mlp", "right:attention", "right:mlp")
        assert provisional_columns(patterned, 6)[:3] == ("left:attention", "left:mlp", "left:rest")
