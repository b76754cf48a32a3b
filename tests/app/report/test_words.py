"""Diagnostics in words, and how the front grew."""

import dataclasses

import moocore
import numpy as np
import pytest

from app.report.progress import hypervolume_progress
from app.report.words import error_share, verdicts


def with_fit(run, **changes):
    return dataclasses.replace(run.front, fits=(dataclasses.replace(run.front.fits[0], **changes), *run.front.fits[1:]))


class TestVerdicts:
    def test_one_a_task(self, make_run):
        run = make_run(budget=12)
        assert [verdict.task for verdict in verdicts(run.study, run.front)] == list(run.front.tasks)

    def test_the_reason_of_the_fit_is_told(self, make_run):
        run = make_run(budget=12)
        assert verdicts(run.study, run.front)[0].why == "Chosen: least leave-one-out error."
        assert verdicts(run.study, with_fit(run, details={}))[0].why == "The study asked for it."

    @pytest.mark.parametrize(("share", "words"), [(0.05, "hardly change"), (0.2, "About 120 more trials"), (0.5, "another surrogate")])
    def test_whether_more_trials_would_pay(self, make_run, share, words):
        run = make_run(budget=12)
        scores = [point.predicted[run.front.tasks[0]].score for point in run.front.points]
        front = with_fit(run, loo_rmse=share * (max(scores) - min(scores)), trials=40)
        assert error_share(front, front.fits[0]) == pytest.approx(share)
        assert words in verdicts(run.study, front)[0].more

    def test_a_task_on_which_the_points_are_equal(self, make_run):
        run = make_run(budget=12)
        front = dataclasses.replace(run.front, points=run.front.points[:1])
        assert error_share(front, front.fits[0]) is None
        assert "do not differ" in verdicts(run.study, front)[0].more

    def test_an_error_that_could_not_be_estimated(self, make_run):
        run = make_run(budget=12)
        assert "could not be estimated" in verdicts(run.study, with_fit(run, loo_rmse=float("nan")))[0].how_sure

    def test_coverage_counts_the_verified_points(self, make_run):
        run = make_run(budget=12, verify=4)
        task = run.front.tasks[0]
        inside = sum(p.predicted[task].low <= p.search[task] <= p.predicted[task].high for p in run.front.points if p.search)
        assert verdicts(run.study, run.front)[0].coverage.startswith(f"{inside} of 4 verified scores")
        assert verdicts(run.study, make_run(budget=12, verify=0).front)[0].coverage == "No point was verified."


class TestProgress:
    def test_it_grows_to_the_last(self, make_run):
        run = make_run(("a", "b"), ("accuracy", "perplexity"), budget=20)
        steps = hypervolume_progress(run.study, run.trials, run.front)
        shares = [share for _, share in steps]
        assert shares == sorted(shares) and shares[-1] == 1.0
        assert steps[-1][0] == 20 + 8

    def test_shares_are_of_the_hypervolume_of_measured_scores(self, make_run):
        run = make_run(("a", "b"), ("accuracy", "perplexity"), budget=20)
        counted = [t for t in run.trials if t.scores and t.proposal.split == "search" and t.proposal.origin != "baseline"]
        rows = np.array([[trial.scores["a"], -trial.scores["b"]] for trial in counted])
        count, share = hypervolume_progress(run.study, run.trials, run.front)[3]
        volumes = [moocore.hypervolume(rows[:n], ref=np.array([0.0, -13.0]), maximise=True) for n in (count, len(rows))]
        assert share == pytest.approx(volumes[0] / volumes[1])

    def test_none_without_a_reference_point(self, make_run):
        run = make_run(budget=12)
        figures = dataclasses.replace(run.front.figures, reference={})
        assert hypervolume_progress(run.study, run.trials, dataclasses.replace(run.front, figures=figures)) == []
