"""Networks linearised in their weights: f(x; theta_0) + J(x) v for a direction v that merges of tangent adapters make."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from app.domain.errors import Fault
from app.domain.study import StudySpec, TransformSpec
from checkpoints.groups import Groups
from checkpoints.model_set import ModelSet
from checkpoints.tangents import TangentMerge, is_tangent, prepare_tangent_merge
from checkpoints.transforms.prepare import prepare_transform
from workers.adapters.tangent import differentiable_layers
from workers.evaluators.merges import Place, to_transform
from workers.evaluators.module_binding import Binding
from workers.evaluators.network import Inputs, Network

_NOT_TANGENT = (
    "exact needs outputs that are affine in the coefficients, as tangent adapters give them (`mergefront finetune --adapter tangent`); "
    "for other checkpoints choose map, bayesian or nested"
)


@dataclass
class TangentMerges:
    """Gives the tangent merge of a transform: that of the study and the latest other are held. `current`: the one last asked for."""

    models: ModelSet
    groups: Groups
    place: Place
    usual: TransformSpec
    current: TangentMerge | None = None
    _held: dict[TransformSpec, TangentMerge] = field(default_factory=dict)

    def of(self, transform: TransformSpec) -> TangentMerge:
        if transform not in self._held:
            for other in [held for held in self._held if held != self.usual]:
                del self._held[other]
            prepared = prepare_transform(to_transform(transform), self.models)
            self._held[transform] = prepare_tangent_merge(self.models, self.groups, prepared, self.place.device)
        self.current = self._held[transform]
        return self.current


def linear_faults(spec: StudySpec, models: ModelSet, network: Network) -> list[Fault]:
    """What keeps a study from outputs that are affine in the coefficients, where it has or needs them."""
    if not is_tangent(models):
        return [Fault("method.name", _NOT_TANGENT)] if spec.method.name == "exact" else []
    if network.gives == "losses":
        return [Fault("architecture", "losses are not affine in what a linearised language model gives: its studies are not there yet")]
    return []


def linearise_network(network: Network, binding: Binding, merges: TangentMerges) -> Network:
    """`network`, but run to first order: at the base's weights, along the direction that was assembled last."""
    whole = _Run(network)

    def run(inputs: Inputs) -> Tensor:
        assert merges.current is not None  # weights are assembled before anything is run
        tangents = merges.current.tangents
        # one parameter a tensor: those that are tied to it follow
        parameters = {source: f"module.{name}" for name, source in binding.sources.items() if source in tangents}
        return _first_order(whole, inputs, {name: tangents[source] for source, name in parameters.items()})

    return replace(network, run=run)


class _Run(nn.Module):
    """Calling it runs the network, so that its parameters can be replaced for the time of a call."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module, self._network = network.module, network

    def forward(self, inputs: Inputs) -> Tensor:
        return self._network.run(inputs)


def _first_order(whole: _Run, inputs: Inputs, tangents: Mapping[str, Tensor]) -> Tensor:
    """f + J v. `tangents`: v by parameter of `whole`. Raises RefusedError where a layer has no forward derivative."""
    base = {name: whole.get_parameter(name).detach() for name in tangents}
    # derivatives cannot be taken of what inference mode makes
    with torch.inference_mode(False), torch.no_grad(), differentiable_layers():
        pair: Any = jvp(lambda weights: functional_call(whole, weights, (inputs,)), (base,), (dict(tangents),))
    value, change = pair
    outputs: Tensor = value + change
    return outputs
