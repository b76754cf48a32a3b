"""Named merges that a front is compared with: the base, each tuned model alone, and the baselines of the literature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from app.domain.study import BaselineName, StudySpec, TransformSpec
from app.domain.task import Split
from app.domain.trial import Origin, Proposal, Trial
from workers.engine.merges import Merge, merge_of

TASK_ARITHMETIC_SCALES = tuple(tenth / 10 for tenth in range(1, 11))
TRANSFORMED_SCALES = (0.3, 0.6, 1.0)
TIES_DENSITY = 0.2
DARE_DROP = 0.9
ADAMERGING: Literal["adamerging"] = "adamerging"


@dataclass(frozen=True)
class Reference:
    """One named merge. `family`: the baseline it belongs to, or base or individual; `name`: what the front calls it."""

    family: BaselineName | Literal["base", "individual"]
    name: str
    coefficients: tuple[float, ...]
    transform: TransformSpec

    @property
    def is_baseline(self) -> bool:
        return self.family not in ("base", "individual")

    @property
    def merge(self) -> Merge:
        return merge_of(self.proposal("search"))

    def proposal(self, split: Split) -> Proposal:
        """The trial that measures it on `split`. On the search split none of them feeds a surrogate: that is the design's part."""
        origin: Origin = "baseline" if self.is_baseline or split == "search" else "design"
        return Proposal(origin, split, self.coefficients, self.name, self.transform)


def references(spec: StudySpec, dimension: int) -> tuple[Reference, ...]:
    """What the spec alone names: the base, the N tuned models alone (both without the study's transform), then its baselines."""
    baselines = (one for family in spec.baselines for one in _family(family, spec, dimension))
    return (*_untransformed(spec, dimension), *baselines)


def known_references(spec: StudySpec, dimension: int, trials: Sequence[Trial]) -> tuple[Reference, ...]:
    """Those, and the merge that AdaMerging found: its coefficients are known once it is among `trials`."""
    found = [trial.proposal for trial in trials if trial.proposal.origin == "baseline" and trial.proposal.label == ADAMERGING]
    adapted = [Reference(ADAMERGING, ADAMERGING, one.coefficients, one.transform) for one in found]
    return (*references(spec, dimension), *dict.fromkeys(adapted))


def best_of_families(found: Sequence[Reference], merit: Mapping[Merge, float]) -> tuple[Reference, ...]:
    """Of each baseline family among `found` the member of highest `merit`; the first of equals; none where none has a merit."""
    members = [one for one in found if one.is_baseline and one.merge in merit]
    families = dict.fromkeys(one.family for one in members)
    return tuple(max((one for one in members if one.family == family), key=lambda one: merit[one.merge]) for family in families)


def _untransformed(spec: StudySpec, dimension: int) -> list[Reference]:
    names = list(spec.models.tuned)
    groups = dimension // len(names)
    alone = [tuple(float(column // groups == place) for column in range(dimension)) for place in range(len(names))]
    base = Reference("base", "base", (0.0,) * dimension, TransformSpec())
    return [base, *(Reference("individual", name, one, TransformSpec()) for name, one in zip(names, alone, strict=True))]


def _family(family: BaselineName, spec: StudySpec, dimension: int) -> list[Reference]:
    match family:
        case "average":
            return [Reference("average", "average", (1.0 / len(spec.models.tuned),) * dimension, spec.transform)]
        case "task_arithmetic":
            return _scaled(family, TASK_ARITHMETIC_SCALES, spec.transform, dimension)
        case "ties":
            return _scaled(family, TRANSFORMED_SCALES, TransformSpec("ties", density=TIES_DENSITY), dimension)
        case "dare":
            return _scaled(family, TRANSFORMED_SCALES, TransformSpec("dare", drop=DARE_DROP, seed=spec.method.seed), dimension)
        case "adamerging":
            return []  # searched for, not named by the spec: see known_references
        case _:
            assert_never(family)


def _scaled(family: BaselineName, scales: Sequence[float], transform: TransformSpec, dimension: int) -> list[Reference]:
    return [Reference(family, f"{family} {scale:g}", (scale,) * dimension, transform) for scale in scales]
