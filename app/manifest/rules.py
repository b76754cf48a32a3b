"""What is wrong with a spec whose every key is well-formed: rules between keys."""

from collections.abc import Iterator

from app.domain.budget import least_budget
from app.domain.errors import Fault
from app.domain.study import MethodSpec, StudySpec, TransformersArchitecture


def rule_faults(spec: StudySpec) -> Iterator[Fault]:
    """Faults that show without opening any file."""
    # how many groups `block` makes is only known once the weights are opened; the check of the files looks again
    groups = len(spec.space.groups) if isinstance(spec.space.groups, tuple) else 1
    needed = least_budget(spec.method, len(spec.models.tuned) * groups)
    if spec.method.budget < needed:
        yield Fault("method.budget", f"{spec.method.budget} trials are too few for this surrogate and model set: it needs {needed} or more")
    yield from _unread_options(spec)
    if "adamerging" in spec.baselines and not _has_logits(spec):
        yield Fault("baselines", "adamerging needs a task whose outputs are logits of classes, measured here: leave it out")
    yield from _nested_faults(spec) if spec.method.name == "nested" else _flat_faults(spec)
    if spec.method.name == "exact":
        yield from _exact_faults(spec)


def _has_logits(spec: StudySpec) -> bool:
    found = spec.architecture
    if isinstance(found, TransformersArchitecture) and found.auto_class == "AutoModelForCausalLM":
        return False
    return any(task.measure.needs != "values" for task in spec.tasks_here)


def _unread_options(spec: StudySpec) -> Iterator[Fault]:
    method, untouched = spec.method, MethodSpec()
    if method.surrogate in ("quadratic", "auto"):
        return
    for key, given, default in (("link", method.link, untouched.link), ("ridge", method.ridge, untouched.ridge)):
        if given != default:
            yield Fault(f"method.{key}", f"only the quadratic reads it, and {method.surrogate} was asked for: leave it out")


def _flat_faults(spec: StudySpec) -> Iterator[Fault]:
    if spec.method.preferences:
        yield Fault("method", f"only nested takes preferences before the search; choose from the front that {spec.method.name} finds")


def _nested_faults(spec: StudySpec) -> Iterator[Fault]:
    tasks = {task.name for task in spec.tasks}
    if tasks != spec.models.tuned.keys():
        yield Fault("tasks", f"nested needs one task a tuned model, of its name: see {', '.join(sorted(tasks ^ spec.models.tuned.keys()))}")
    if spec.space.groups != "task":
        yield Fault("space.groups", "nested merges whole models: choose task")
    if (spec.space.low, spec.space.high) != (0.0, 1.0):
        yield Fault("space", "nested multiplies coefficients level by level, which stays in the box only with low: 0 and high: 1")
    if spec.method.surrogate == "quadratic":
        yield Fault("method.surrogate", "the trials of nested lie on planes, which leave a quadratic open: choose auto, output or gp")
    for preference in spec.method.preferences:
        if preference.keys() != tasks or not sum(preference.values()) > 0:
            yield Fault("method", "a preference weighs every task, not all of them zero")


def _exact_faults(spec: StudySpec) -> Iterator[Fault]:
    if spec.method.surrogate != "auto":
        yield Fault("method.surrogate", f"exact knows the outputs and needs no surrogate: leave {spec.method.surrogate} out")
    for task in spec.tasks_elsewhere:
        yield Fault(f"tasks.{task.name}", "exact needs every example's outputs, external evaluators give scores: choose map or bayesian")
