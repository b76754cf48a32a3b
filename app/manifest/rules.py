"""What is wrong with a spec whose every key is well-formed: rules between keys."""

from collections.abc import Iterator

from app.domain.budget import least_budget
from app.domain.errors import Fault
from app.domain.study import StudySpec


def rule_faults(spec: StudySpec) -> Iterator[Fault]:
    """Faults that show without opening any file."""
    # how many groups `block` makes is only known once the weights are opened; the check of the files looks again
    groups = len(spec.space.groups) if isinstance(spec.space.groups, tuple) else 1
    needed = least_budget(spec.method, len(spec.models.tuned) * groups)
    if spec.method.budget < needed:
        yield Fault("method.budget", f"{spec.method.budget} trials are too few for this surrogate and model set: it needs {needed} or more")
