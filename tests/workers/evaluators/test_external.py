"""The evaluator of a study that is evaluated elsewhere: its geometry is that of the weights, and nothing else is needed."""

from dataclasses import replace

import pytest
import torch

from app.domain.errors import MeasurementError, RefusedError
from app.domain.task import ExternalTask
from app.domain.trial import Proposal
from workers.evaluators.build import build_evaluator, open_evaluator

TASKS = tuple(ExternalTask(name, "rating") for name in ("ten", "odd"))


@pytest.fixture
def bare(digits_study):
    return replace(digits_study, architecture=None, tasks=TASKS)


def test_the_task_vectors_are_those_of_the_weights(digits_study, bare):
    found = open_evaluator(bare, "cpu")
    assert torch.equal(found.gram, build_evaluator(digits_study, "cpu").gram)
    assert found.scorers == {}


def test_what_is_measured_here_is_built_beside_it(digits_study):
    mixed = replace(digits_study, tasks=(digits_study.tasks[0], TASKS[1]))
    found = open_evaluator(mixed, "cpu").evaluate(Proposal("design", "search", (0.5, 0.5)))
    assert found.scores.keys() == found.outputs.keys() == {"ten"}


def test_nothing_is_measured_here(bare):
    with pytest.raises(MeasurementError, match="elsewhere"):
        open_evaluator(bare, "cpu").evaluate(Proposal("design", "search", (0.5, 0.5)))


def test_weights_that_do_not_fit_are_told(bare):
    with pytest.raises(RefusedError, match="models.tuned"):
        open_evaluator(replace(bare, models=replace(bare.models, tuned={"ten": bare.models.base, "odd": bare.models.base})), "cpu")
