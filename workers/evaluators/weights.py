"""The weights of a study: its checkpoints opened, its module built, each held against the other."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.domain.errors import Fault, RefusedError
from app.domain.study import Architecture, FactoryArchitecture, ModelSetSpec, StudySpec
from checkpoints.errors import CheckpointError, MisfitError
from checkpoints.groups import Groups, group_tensors
from checkpoints.layout import Layout, open_layout
from checkpoints.model_set import ModelSet, fit_model_set
from workers.evaluators.factory import build_factory_network
from workers.evaluators.module_binding import Binding, plan_binding
from workers.evaluators.network import Network

T = TypeVar("T")

# how many batches a normalisation was trained on: differs after any training, and means nothing afterwards
COUNTERS = r"(^|\.)num_batches_tracked$"


class Findings:
    """Faults found so far, so that all are told at once."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def attempt(self, step: Callable[[], T]) -> T | None:
        """What `step` gives, or None with its faults noted."""
        try:
            return step()
        except RefusedError as error:
            self.faults.extend(error.faults)
            return None

    def refuse(self) -> None:
        """Raises RefusedError when there is a fault."""
        if self.faults:
            raise RefusedError(self.faults)


@dataclass(frozen=True)
class FoundWeights:
    """What a study's checkpoints and architecture make together, as far as nothing is wrong with it."""

    models: ModelSet | None
    network: Network | None
    binding: Binding | None
    groups: Groups | None


def read_weights(spec: StudySpec, findings: Findings) -> FoundWeights:
    """Open the checkpoints, build the module, and hold them against each other; whatever is wrong goes into `findings`.

    No tensor is read but where checkpoints must agree. Without an architecture the checkpoints are taken as they stand.
    """
    base = findings.attempt(lambda: _open(spec.models.base, "models.base"))
    tuned = {name: findings.attempt(partial(_open, path, f"models.tuned.{name}")) for name, path in spec.models.tuned.items()}
    opened = {name: layout for name, layout in tuned.items() if layout is not None}
    architecture = spec.architecture
    if architecture is None:
        return _bare_weights(spec, base, opened, findings)
    network = findings.attempt(lambda: build_network(architecture, base))
    if base is None:
        return FoundWeights(None, network, None, None)
    binding = None if network is None else findings.attempt(lambda: plan_binding(network, _shapes(base)))
    if network is None or binding is None or len(opened) < len(tuned):
        return FoundWeights(None, network, binding, None)
    models = findings.attempt(lambda: fit_models(base, opened, network, binding))
    groups = None if models is None else findings.attempt(lambda: _group(models, spec))
    return FoundWeights(models, network, binding, groups)


def _bare_weights(spec: StudySpec, base: Layout | None, tuned: Mapping[str, Layout], findings: Findings) -> FoundWeights:
    if base is None or len(tuned) < len(spec.models.tuned):
        return FoundWeights(None, None, None, None)
    models = findings.attempt(lambda: _fit(base, tuned, [COUNTERS]))
    groups = None if models is None else findings.attempt(lambda: _group(models, spec))
    return FoundWeights(models, None, None, groups)


def open_models(spec: ModelSetSpec, architecture: Architecture | None) -> ModelSet:
    """The model set as studies read it: names of one family matched, heads of single tasks left out of the merge.

    Raises RefusedError with every fault.
    """
    findings = Findings()
    found = read_weights(StudySpec("", spec, architecture, ()), findings)
    findings.refuse()
    assert found.models is not None  # without a fault all is there
    return found.models


def build_network(architecture: Architecture, base: Layout | None) -> Network | None:
    """The module of an architecture; None for one that is described beside a base that could not be opened. Raises RefusedError."""
    if isinstance(architecture, FactoryArchitecture):
        return build_factory_network(architecture)
    from workers.evaluators.transformers_model import build_transformers_network  # a heavy import that factories do without

    return None if base is None else build_transformers_network(architecture, base.root)


def fit_models(base: Layout, tuned: Mapping[str, Layout], network: Network, binding: Binding) -> ModelSet:
    """The model set of a network. Raises RefusedError with every misfit.

    Not merged, beside what the base lacks: the parameters of the network's own heads; counters of training batches; and what the
    module does not need (heads of other models, buffers that state dicts leave out today) where a tuned checkpoint lacks it or
    has it in another shape.
    """
    alike = {name: network.naming.align(layout, base) if layout.kind == "full" else layout for name, layout in tuned.items()}
    heads = network.naming.find(network.own, base.tensors).values()
    uneven = [name for name in binding.optional if any(_differs(name, base, layout) for layout in alike.values())]
    return _fit(base, alike, [*(f"^{re.escape(name)}$" for name in (*heads, *uneven)), COUNTERS])


def _fit(base: Layout, tuned: Mapping[str, Layout], private: Sequence[str]) -> ModelSet:
    try:
        return fit_model_set(base, tuned, private)
    except CheckpointError as error:
        raise _refused("models.tuned", error.faults) from error


def _differs(tensor: str, base: Layout, tuned: Layout) -> bool:
    if tuned.kind != "full":
        return False
    return tensor not in tuned.tensors or tuned.entry(tensor).shape != base.entry(tensor).shape


def _open(path: str, where: str) -> Layout:
    try:
        return open_layout(Path(path))
    except CheckpointError as error:
        raise _refused(where, error.faults) from error


def _group(models: ModelSet, spec: StudySpec) -> Groups:
    try:
        return group_tensors(models.sizes, spec.space.groups)
    except MisfitError as error:
        raise _refused("space.groups", error.faults) from error


def _shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    return {name: place.entry.shape for name, place in layout.tensors.items()}


def _refused(where: str, problems: Iterable[str]) -> RefusedError:
    return RefusedError([Fault(where, problem) for problem in problems])
