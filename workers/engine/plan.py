"""Decides what a study does next, from its rows alone: a killed study goes on where its trials say it stands."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from app.domain.study import MethodName, Study, StudyStatus
from app.domain.trial import Trial
from workers.engine import bayesian_method, exact_method, map_method, nested_method
from workers.engine.stages import Keep, Nothing, Step

Method = Callable[[Study, Sequence[Trial]], Step]

METHODS: Mapping[MethodName, Method] = MappingProxyType(
    {
        "map": map_method.next_step,
        "bayesian": bayesian_method.next_step,
        "nested": nested_method.next_step,
        "exact": exact_method.next_step,
    }
)


def plan(study: Study, trials: Sequence[Trial]) -> Step:
    """The next step of `study`, whose trials are `trials`, by number. Pure."""
    if study.status is StudyStatus.CANCELLED and study.failure is None:
        return Keep()
    if study.status not in (StudyStatus.SUBMITTED, StudyStatus.RUNNING):
        return Nothing()
    return METHODS[study.spec.method.name](study, trials)
