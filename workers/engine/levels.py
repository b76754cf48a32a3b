"""The pairs of a nested merge: what each level's surrogates choose, and where the next level is measured. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from app.domain.budget import trials_a_plane
from app.domain.study import StudySpec
from app.domain.trial import Proposal, Trial
from surrogate.acquisition import batch_seed
from surrogate.aims import Normalisation, Prefer
from surrogate.design import initial_design
from surrogate.history import FittedSurrogate, History
from surrogate.nested import Item, choose_on_plane, first_items, merge_items, pair_items
from surrogate.select import QuadraticOptions, fit_surrogate
from workers.engine.arrays import Evidence, list_coefficients
from workers.engine.choices import normalisation_of
from workers.engine.merges import fitted_trials, without_repeats
from workers.engine.nested_method import level_label, level_of, levels, levels_done

Pair = tuple[Item, Item]
Preference = Mapping[str, float]

# How far, in coefficients, a trial may lie off a plane that it belongs to.
ROUNDING = 1e-9
CORNERS = 3


def propose_level(evidence: Evidence, trials: Sequence[Trial]) -> tuple[Proposal, ...]:
    """The trials of the next level's pairs, for every preference; a pair's trials measure the tasks of its two items only."""
    level = levels_done(trials) + 1
    climb = _Climb(evidence, trials)
    pairs = [pair for preference in preferences(evidence.spec) for pair in climb.pairs(preference, level)]
    return without_repeats([proposal for pair in pairs for proposal in climb.proposals(pair, level)])


def nested_points(evidence: Evidence, trials: Sequence[Trial]) -> Tensor:
    """What every preference leads to after the last level, each point once; n x D."""
    climb = _Climb(evidence, trials)
    found = [climb.items(preference, levels(evidence.spec))[0].coefficients for preference in preferences(evidence.spec)]
    return torch.stack([point for place, point in enumerate(found) if not any(torch.equal(point, other) for other in found[:place])])


def preferences(spec: StudySpec) -> tuple[Preference, ...]:
    """The spec's, or equal weights where it states none."""
    return spec.method.preferences or (dict.fromkeys(spec.models.tuned, 1.0),)


@dataclass(frozen=True)
class _Climb:
    """From level to level. A level reads its own trials and earlier ones only, so that what it chose is never chosen anew."""

    evidence: Evidence
    trials: Sequence[Trial]

    @property
    def spec(self) -> StudySpec:
        return self.evidence.spec

    @cached_property
    def tuned(self) -> list[str]:
        return list(self.spec.models.tuned)

    @cached_property
    def normalisation(self) -> Normalisation:
        return normalisation_of(self.evidence, self.trials)

    @cached_property
    def levels_of_rows(self) -> Mapping[str, Tensor]:
        """By task, the level of every trial in its history."""
        return {task: torch.tensor([level_of(trial) for trial in fitted_trials(self.trials, task)]) for task in self.tuned}

    def items(self, preference: Preference, level: int) -> tuple[Item, ...]:
        """The items that `level` leaves; level 0 are the tuned models alone."""
        if level == 0:
            return first_items(len(self.tuned))
        before = self.items(preference, level - 1)
        places = pair_items(torch.stack([self._merit(item, level - 1) for item in before]))
        pairs = [tuple(before[place] for place in pair) for pair in places]
        return tuple(self._merge((pair[0], pair[1]), preference, level) if len(pair) == 2 else pair[0] for pair in pairs)

    def pairs(self, preference: Preference, level: int) -> list[Pair]:
        before = self.items(preference, level - 1)
        places = pair_items(torch.stack([self._merit(item, level - 1) for item in before]))
        return [(before[pair[0]], before[pair[1]]) for pair in places if len(pair) == 2]

    def proposals(self, pair: Pair, level: int) -> list[Proposal]:
        """New trials on the plane of `pair`: its corners first where they are not measured, then an even spread."""
        count, method = trials_a_plane(self.spec.method, len(self.tuned)), self.spec.method
        tasks = self._tasks(pair)
        design = initial_design(2, 1, count + CORNERS, batch_seed(method.seed, level), 0.0, 1.0)
        rows = [row for row in list_coefficients(design @ _basis(pair)) if not self._measured(row, tasks)][:count]
        named = () if len(tasks) == len(self.tuned) else tuple(tasks)
        return [Proposal("adaptive", "search", row, level_label(level), self.spec.transform, named) for row in rows]

    def _measured(self, row: tuple[float, ...], tasks: Sequence[str]) -> bool:
        point = torch.tensor(row, dtype=torch.float64)
        histories = [self.evidence.histories[task].coefficients for task in tasks]
        return all(bool(((known - point).abs().amax(1) < ROUNDING).any()) for known in histories)

    def _tasks(self, pair: Pair) -> list[str]:
        return [self.tuned[place] for place in sorted(pair[0].tasks + pair[1].tasks)]

    def _merit(self, item: Item, level: int) -> Tensor:
        """The mean utility of an item on its own tasks, at the trial that lies nearest to it."""
        return torch.stack([self._nearest(item, self.tuned[place], level) for place in item.tasks]).mean()

    def _nearest(self, item: Item, task: str, level: int) -> Tensor:
        history = self.evidence.histories[task]
        away = (history.coefficients - item.coefficients).norm(dim=1)
        score = history.scores[torch.where(self.levels_of_rows[task] <= level, away, torch.inf).argmin()]
        return score if history.scale.maximize else -score

    def _merge(self, pair: Pair, preference: Preference, level: int) -> Item:
        tasks = self._tasks(pair)
        fits = {task: self._fit(pair, task, level) for task in tasks}
        weights = torch.tensor([preference[task] for task in tasks], dtype=torch.float64)
        # where none of the pair's tasks matters, they matter alike
        aim = Prefer(weights if float(weights.sum()) > 0 else torch.ones_like(weights), self._normalisation_of(tasks))
        up = {task: self.evidence.histories[task].scale.maximize for task in tasks}
        return merge_items(*pair, choose_on_plane(fits, up, aim, 0.0, 1.0))

    def _normalisation_of(self, tasks: Sequence[str]) -> Normalisation:
        order = [task.name for task in self.spec.tasks]
        places = torch.tensor([order.index(task) for task in tasks])
        return Normalisation(self.normalisation.ideal[places], self.normalisation.nadir[places])

    def _fit(self, pair: Pair, task: str, level: int) -> FittedSurrogate:
        basis, method = _basis(pair), self.spec.method
        history = _on_plane(self.evidence.histories[task], self.levels_of_rows[task] <= level, basis)
        return fit_surrogate(
            method.surrogate, history, basis @ self.evidence.gram @ basis.T, method.seed, QuadraticOptions(method.link, method.ridge)
        )


def _basis(pair: Pair) -> Tensor:
    return torch.stack([item.coefficients for item in pair])


def _on_plane(history: History, usable: Tensor, basis: Tensor) -> History:
    """The usable trials that lie on the plane of `basis`, 2 x D, in its two coordinates."""
    coordinates = history.coefficients @ torch.linalg.pinv(basis)
    inside = usable & ((coordinates @ basis - history.coefficients).abs().amax(1) < ROUNDING)
    outputs = None if history.outputs is None else replace(history.outputs, values=history.outputs.values[inside])
    return History(coordinates[inside], history.scores[inside], history.scale, outputs)
