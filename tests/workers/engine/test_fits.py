"""Which surrogate a study's tasks get, and what is told of it."""

import pytest

from app.domain.study import MethodSpec
from workers.engine.arrays import gather_evidence
from workers.engine.fits import describe_fits, fit_tasks


@pytest.fixture
def fitted(house, spec):
    def build(metric="mse", **method):
        study = spec(metric, method=MethodSpec(budget=12, **method))
        built = house(study)
        built.run(jobs=1 + 12)
        evidence = gather_evidence(study, built.trials, built.evaluator, built.blobs.get)
        return evidence, fit_tasks(evidence)

    return build


class TestQuadratic:
    @pytest.mark.parametrize("link", ["identity", "logit"])
    def test_takes_the_link_that_the_spec_names(self, fitted, link):
        _, fits = fitted("accuracy", surrogate="quadratic", link=link)
        assert {fit.diagnostics.details["link"] for fit in fits.values()} == {link}

    def test_takes_the_ridge_that_the_spec_names(self, fitted):
        _, fits = fitted(surrogate="quadratic", ridge=0.5)
        assert {fit.diagnostics.details["ridge"] for fit in fits.values()} == {0.5}


class TestOthers:
    @pytest.mark.parametrize("surrogate", ["output", "gp", "auto"])
    def test_are_fitted_by_name(self, fitted, surrogate):
        evidence, fits = fitted("accuracy", surrogate=surrogate)
        described = describe_fits(evidence, fits)
        assert [fit.task for fit in described] == ["left", "right"]
        assert surrogate == "auto" or {fit.surrogate for fit in described} == {surrogate}
        assert all(len(fit.predicted) == len(fit.measured) == fit.trials == 12 for fit in described)


class TestStudy:
    def test_outputs_predict_better_than_scores_do(self, fitted):
        """Logits are affine in the coefficients here, and accuracy is a staircase of them."""
        _, outputs = fitted("accuracy", surrogate="output")
        _, scores = fitted("accuracy", surrogate="quadratic")
        for task in outputs:
            assert outputs[task].diagnostics.loo_rmse < scores[task].diagnostics.loo_rmse

    def test_a_whole_study_on_outputs(self, house, spec):
        study = spec("accuracy", method=MethodSpec(surrogate="auto", budget=12))
        front = house(study).finish()
        assert {fit.surrogate for fit in front.fits} <= {"output", "quadratic", "gp"}
        verified = [point for point in front.points if point.search]
        assert verified
        for point in verified:
            for task, found in point.predicted.items():
                assert found.score == pytest.approx(point.search[task], abs=0.08)
