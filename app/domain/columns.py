"""What the coefficients of a study are called."""

from app.domain.study import StudySpec


def columns(spec: StudySpec, dimension: int) -> tuple[str, ...]:
    """Names of the `dimension` coefficients, tuned model after tuned model: `mnist`, or `mnist:<group>` where grouped."""
    groups = dimension // len(spec.models.tuned)
    if groups == 1 and spec.space.groups == "task":
        return tuple(spec.models.tuned)
    return tuple(f"{name}:{group}" for name in spec.models.tuned for group in _group_names(spec, groups))


def _group_names(spec: StudySpec, count: int) -> tuple[str, ...]:
    if isinstance(spec.space.groups, str):
        return tuple(f"{spec.space.groups}.{number}" for number in range(count))
    # tensors that no pattern names form the last group
    return (*spec.space.groups, "rest")[:count]
