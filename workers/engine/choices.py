"""One merge out of a searched study: what a user wants from the scores, answered by the surrogates without an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from app.domain.candidates import Balance, Best, Target, Weights, Wish
from app.domain.front import Predicted
from app.domain.study import StudySpec
from app.domain.trial import Trial
from surrogate.aims import Aim, Constraint, Knee, Maximise, Normalisation, Prefer, Reach
from surrogate.choose import choose
from surrogate.errors import InvalidRequestError
from workers.engine.arrays import (
    Evidence,
    Scores,
    directions,
    gather_evidence,
    list_coefficients,
    list_predictions,
    stack_scores,
)
from workers.engine.fits import Fits, fit_tasks, predict_tasks
from workers.engine.normalised import measured_own_scores
from workers.engine.workshop import Workshop


@dataclass(frozen=True)
class Choice:
    """The coefficients that serve a wish, with what is predicted there, by task."""

    coefficients: tuple[float, ...]
    predicted: Mapping[str, Predicted]


def choose_merge(workshop: Workshop, study_id: str, wish: Wish, constraints: Sequence[Constraint] = ()) -> Choice:
    """The merge of a study that serves `wish` best within `constraints`, from all that was measured so far; deterministic.

    Raises UnmetError when nothing was measured, InfeasibleError when the constraints cannot be met, InvalidRequestError for
    unknown or missing tasks.
    """
    study = workshop.store.study(study_id)
    trials = workshop.store.trials(study_id)
    evidence = gather_evidence(study.spec, trials, workshop.evaluator_of(study), workshop.blobs.get)
    return choose_from(evidence, fit_tasks(evidence), normalisation_of(evidence, trials), wish, constraints)


def choose_from(
    evidence: Evidence, fits: Fits, normalisation: Normalisation, wish: Wish, constraints: Sequence[Constraint]
) -> Choice:
    """The same, from fits that are at hand. Pure."""
    spec = evidence.spec
    found = choose(
        fits,
        directions={task.name: task.measure.maximize for task in spec.tasks},
        aim=_aim(spec, wish, normalisation),
        constraints=constraints,
        low=spec.space.low,
        high=spec.space.high,
        dimension=evidence.dimension,
        seed=spec.method.seed,
    )[None]
    return Choice(list_coefficients(found)[0], list_predictions(predict_tasks(fits, found))[0])


def normalisation_of(evidence: Evidence, trials: Sequence[Trial]) -> Normalisation:
    """Losses relative to each task's own model on the search split; to the best measured score where no own model was measured."""
    spec = evidence.spec
    own = measured_own_scores(spec, evidence.dimension, trials) or _best_measured(evidence)
    ideal = stack_scores(spec, [own])[0]
    unit = torch.where(ideal == 0, torch.ones_like(ideal), ideal.abs())
    return Normalisation(ideal, ideal - directions(spec) * unit)


def _best_measured(evidence: Evidence) -> Scores:
    best = {task: (max if history.scale.maximize else min)(history.scores.tolist()) for task, history in evidence.histories.items()}
    return {task: float(score) for task, score in best.items()}


def _aim(spec: StudySpec, wish: Wish, normalisation: Normalisation) -> Aim:
    match wish:
        case Weights(weights):
            return Prefer(_vector(spec, weights, "weight"), normalisation)
        case Target(scores):
            return Reach(_vector(spec, scores, "target score"), normalisation)
        case Balance():
            return Knee(normalisation)
        case Best(task):
            return Maximise(task)
        case _:
            assert_never(wish)


def _vector(spec: StudySpec, values: Mapping[str, float], name: str) -> Tensor:
    tasks = {task.name for task in spec.tasks}
    if values.keys() != tasks:
        wrong = ", ".join(sorted(values.keys() ^ tasks))
        raise InvalidRequestError(f"every task of the study needs a {name}, and no other: see {wrong}")
    return stack_scores(spec, [values])[0]
