"""What the coefficients of a study are called."""

from collections.abc import Sequence

from app.domain.study import StudySpec


def columns(spec: StudySpec, groups: Sequence[str]) -> tuple[str, ...]:
    """Names of the D coefficients, tuned model after tuned model: `mnist`, or `mnist:<group>` where the layers are grouped."""
    if spec.space.groups == "task":
        return tuple(spec.models.tuned)
    return tuple(f"{name}:{group}" for name in spec.models.tuned for group in groups)


def provisional_columns(spec: StudySpec, dimension: int) -> tuple[str, ...]:
    """The same without the weights, by whose tensors blocks are named: until there is a front, blocks are numbered."""
    return columns(spec, _numbered(spec, dimension // len(spec.models.tuned)))


def _numbered(spec: StudySpec, count: int) -> tuple[str, ...]:
    if isinstance(spec.space.groups, str):
        return tuple(f"{spec.space.groups}.{number}" for number in range(count))
    # tensors that no pattern names form the last group
    return (*spec.space.groups, "rest")[:count]
