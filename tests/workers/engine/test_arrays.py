"""Between the domain's values and tensors."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import NotFoundError, UnmetError
from app.domain.study import MethodSpec
from app.domain.trial import Proposal, TrialStatus
from workers.engine.arrays import (
    directions,
    gather_evidence,
    list_coefficients,
    pack_outputs,
    stack_coefficients,
    stack_utilities,
    unpack_outputs,
)

READS_OUTPUTS = MethodSpec(surrogate="output", budget=10)


class TestOutputs:
    @given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([torch.float16, torch.float32]), st.integers(0, 9))
    def test_come_back_as_they_were(self, examples, classes, dtype, seed):
        outputs = torch.randn(classes, examples, generator=torch.Generator().manual_seed(seed)).to(dtype).T
        back = unpack_outputs(pack_outputs(outputs))
        assert back.dtype == dtype
        assert torch.equal(back, outputs)

    def test_equal_outputs_are_equal_bytes(self):
        assert pack_outputs(torch.ones(3, 2)) == pack_outputs(torch.ones(3, 2))


class TestCoefficients:
    @given(st.lists(st.tuples(*[st.floats(-2, 2)] * 3), max_size=6))
    def test_come_back_to_the_last_bit(self, rows):
        assert list(list_coefficients(stack_coefficients(rows, 3))) == rows

    def test_none_keep_their_width(self):
        assert stack_coefficients([], 4).shape == (0, 4)


class TestScores:
    def test_utilities_turn_what_is_to_be_small(self, spec):
        assert stack_utilities(spec("mse"), [{"right": 0.2, "left": 0.1}]).tolist() == [[-0.1, -0.2]]
        assert stack_utilities(spec("accuracy"), [{"right": 0.2, "left": 0.1}]).tolist() == [[0.1, 0.2]]

    def test_turning_twice_gives_the_scores(self, spec):
        scores = {"left": 0.25, "right": 4.0}
        assert (stack_utilities(spec("mse"), [scores]) * directions(spec("mse"))).tolist() == [[0.25, 4.0]]


class TestEvidence:
    @pytest.fixture
    def measured(self, house):
        def run(spec):
            built = house(spec)
            built.run(jobs=1 + spec.method.budget)
            return built

        return run

    def test_histories_by_task_in_the_specs_order(self, spec, measured):
        built = measured(spec())
        evidence = gather_evidence(spec(), built.trials, built.evaluator, built.blobs.get)
        assert list(evidence.histories) == ["left", "right"]
        assert evidence.dimension == 2
        design = [trial for trial in built.trials if trial.proposal.origin == "design"]
        assert evidence.histories["right"].scores.tolist() == [trial.scores["right"] for trial in design]
        assert list_coefficients(evidence.histories["right"].coefficients) == tuple(t.proposal.coefficients for t in design)

    def test_the_scale_is_the_metrics(self, spec, measured):
        built = measured(spec("accuracy"))
        scale = gather_evidence(spec("accuracy"), built.trials, built.evaluator, built.blobs.get).histories["left"].scale
        assert (scale.low, scale.high, scale.maximize, scale.examples, scale.proportion) == (0.0, 1.0, True, 64, True)

    def test_outputs_give_the_measured_scores_back(self, spec, measured):
        study = spec("accuracy", method=READS_OUTPUTS)
        built = measured(study)
        history = gather_evidence(study, built.trials, built.evaluator, built.blobs.get).histories["left"]
        assert history.outputs.values.shape == (10, 64, 3)
        assert history.outputs.values.dtype == torch.float16
        torch.testing.assert_close(history.outputs.score(history.outputs.values), history.scores, atol=0.04, rtol=0.0)

    def test_outputs_stay_where_they_are_when_no_surrogate_reads_them(self, spec, measured):
        built = measured(spec())
        assert gather_evidence(spec(), built.trials, built.evaluator, dict().__getitem__).histories["left"].outputs is None

    def test_one_trial_without_outputs_leaves_the_task_without(self, spec, measured):
        study = spec(method=READS_OUTPUTS)
        built = measured(study)
        bare = replace(built.trials[4], outputs={"right": built.trials[4].outputs["right"]})
        trials = [bare if trial.id == bare.id else trial for trial in built.trials]
        histories = gather_evidence(study, trials, built.evaluator, built.blobs.get).histories
        assert histories["left"].outputs is None
        assert histories["right"].outputs is not None

    def test_lost_outputs_are_an_error_that_names_them(self, spec, measured, tmp_path):
        study = spec(method=READS_OUTPUTS)
        built = measured(study)
        empty = type(built.blobs)(tmp_path)
        with pytest.raises(NotFoundError, match="no blob"):
            gather_evidence(study, built.trials, built.evaluator, empty.get)

    def test_nothing_measured_is_unmet(self, spec, trial, house):
        trials = [trial(0, Proposal("design", "search", (0.0, 0.0)), TrialStatus.FAILED)]
        with pytest.raises(UnmetError, match="none of 1 trials"):
            gather_evidence(spec(), trials, house().evaluator, dict().__getitem__)
