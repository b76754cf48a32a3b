"""Cancelled studies keep what they found; extended ones go on from it; finished ones offer candidates to choose from."""

from dataclasses import replace

import pytest
import torch

from app.domain.candidates import Candidates
from app.domain.study import StudyStatus
from app.store.codec import decode
from workers.engine.advance import advance


def cancel_after(built, jobs):
    built.run(jobs)
    built.store.step_study(built.study.id, StudyStatus.CANCELLED)
    built.start_again()
    built.run()


class TestCancelled:
    def test_keeps_the_front_found_so_far(self, house):
        built = house()
        cancel_after(built, 12)
        assert built.study.status is StudyStatus.CANCELLED
        assert built.study.failure is None
        front = built.store.front(built.study.id)
        assert front.points
        assert front.evaluations["failed"] > 0

    def test_says_when_there_is_none(self, house):
        built = house()
        cancel_after(built, 1)
        assert built.study.status is StudyStatus.CANCELLED
        assert built.study.failure.code == "unmet"
        assert "cancelled before there was a front" in built.study.failure.message

    def test_is_settled_once(self, house):
        built = house()
        cancel_after(built, 12)
        before = built.store.events(built.study.id)
        advance(built.workshop, built.study.id)
        assert built.store.events(built.study.id) == before


class TestExtended:
    def test_continues_the_design_and_ends_with_a_new_front(self, house, spec):
        built = house()
        first = built.finish()
        method = replace(built.study.spec.method, budget=16)
        built.store.extend(built.study.id, replace(built.study.spec, method=method))
        built.start_again()
        second = built.finish()
        assert (first.evaluations["design:search"], second.evaluations["design:search"]) == (10, 16)
        design = [trial.proposal.coefficients for trial in built.trials if trial.proposal.origin == "design"]
        whole = house(spec(method=method))
        whole.finish()
        assert sorted(design) == sorted(trial.proposal.coefficients for trial in whole.trials if trial.proposal.origin == "design")

    def test_measures_nothing_twice_but_one_that_stands_for_its_stage(self, house):
        built = house()
        built.finish()
        method = replace(built.study.spec.method, budget=11)
        built.store.extend(built.study.id, replace(built.study.spec, method=method))
        built.start_again()
        built.finish()
        assert sum(count - 1 for count in built.evaluator.asked.values()) <= 2


class TestCandidates:
    @pytest.fixture
    def offered(self, house):
        built = house()
        front = built.finish()
        return decode(Candidates, built.blobs.get(front.candidates).decode())

    def test_are_fine_and_hold_the_optima(self, offered):
        assert len(offered.coefficients) >= 100
        found = torch.tensor(offered.coefficients)
        for optimum in ((0.9, 0.2), (0.2, 0.8)):
            assert float((found - torch.tensor(optimum)).abs().amax(1).min()) < 0.01

    def test_say_what_their_scores_mean(self, offered):
        assert offered.tasks == ("left", "right")
        assert offered.maximize == (False, False)
        assert all(low <= mean <= high for low, mean, high in zip(offered.low[0], offered.mean[0], offered.high[0], strict=True))
        assert all(ideal < nadir for ideal, nadir in zip(offered.ideal, offered.nadir, strict=True))
