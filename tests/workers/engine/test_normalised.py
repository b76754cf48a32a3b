"""Scores relative to each task's own model."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.domain.task import METRICS
from workers.engine.normalised import normalise, own_scores


class TestOwnScores:
    def test_the_tuned_model_of_the_tasks_name(self, spec):
        individuals = {"left": {"left": 0.7, "right": 0.1}, "right": {"left": 0.9, "right": 0.8}}
        assert own_scores(spec("accuracy"), individuals) == {"left": 0.7, "right": 0.8}

    @pytest.mark.parametrize(("metric", "best"), [("accuracy", 0.9), ("mse", 0.7)])
    def test_the_best_where_no_name_fits(self, spec, metric, best):
        individuals = {"a": {"left": 0.7, "right": 0.1}, "b": {"left": 0.9, "right": 0.8}}
        assert own_scores(spec(metric), individuals)["left"] == best

    def test_nothing_measured_is_nothing(self, spec):
        assert own_scores(spec(), {}) is None


class TestNormalise:
    def test_shares_of_the_own_score(self, spec):
        found = normalise(spec("accuracy"), {"left": 0.8, "right": 0.5}, [{"left": 0.4, "right": 0.5}])
        assert found.tolist() == [[0.5, 1.0]]

    def test_smaller_is_better_turns_the_share_over(self, spec):
        found = normalise(spec("mse"), {"left": 0.2, "right": 0.5}, [{"left": 0.4, "right": 0.25}])
        assert found.tolist() == [[0.5, 2.0]]

    def test_differences_where_a_ratio_means_nothing(self, spec):
        found = normalise(spec("matthews"), {"left": -0.1, "right": 0.5}, [{"left": 0.3, "right": -0.25}])
        torch.testing.assert_close(found, torch.tensor([[1.4, -0.5]], dtype=torch.float64))

    @given(
        metric=st.sampled_from(["accuracy", "mse", "matthews", "nll"]),
        own=st.sampled_from([0.0, 0.3, 0.9]),
        scores=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2).map(sorted),
    )
    def test_parity_is_one_and_better_is_more(self, spec, metric, own, scores):
        rows = [{"left": score, "right": score} for score in (own, *scores)]
        same, lower, higher = normalise(spec(metric), {"left": own, "right": own}, rows)[:, 0].tolist()
        assert same == pytest.approx(1.0)
        assert lower <= higher if METRICS[metric].maximize else lower >= higher
