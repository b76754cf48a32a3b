"""What trains: the factors of an adapter, and the head where asked; everything else of the network stands still."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from app.domain.errors import Fault, RefusedError
from app.domain.finetune import AdapterSpec
from checkpoints.adapter_metadata import AdapterMetadata, digest_base, digest_tensors
from checkpoints.linearised import LinearisedAdapter
from workers.adapters.factors import TARGETS, Factor, choose_layers, draw_start, is_transposed, zero_b
from workers.adapters.tangent import TangentModel
from workers.evaluators.heads import LinearHead, OwnHead
from workers.evaluators.network import Inputs
from workers.finetuning.content import Content

_Factors = dict[str, Tensor]
_NAME = "default"  # what PEFT calls the only adapter of a network


@dataclass(frozen=True, eq=False)
class Trainee:
    """`parameters`: what the optimiser moves, by name. `outputs`: a batch of n examples -> n x q, float32.

    `a`, `b`: the factors as they stand, by layer. `head`: a linear head behind the network as it stands, where there is one.
    """

    content: Content
    parameters: Mapping[str, nn.Parameter]
    outputs: Callable[[Inputs], Tensor]
    a: Mapping[str, Tensor]
    b: Mapping[str, Tensor]
    transposed: bool
    head: LinearHead | None

    def adapter(self, scores: Mapping[str, float]) -> LinearisedAdapter:
        """The adapter as it stands. `scores`: what its metadata says of it."""
        spec, own = self.content.spec.adapter, self.content.network.own
        a0 = "" if spec.kind == "lora" else digest_tensors(self.a)
        metadata = AdapterMetadata(spec.kind, digest_base(self.content.base), a0, spec.seed, scores)
        private = {name: self.content.network.module.get_parameter(name) for name in own}
        return LinearisedAdapter(
            metadata, spec.rank, spec.alpha, self.a, self.b, private, self.transposed, str(self.content.base.root)
        )


def adapt(content: Content) -> Trainee:
    """Put the adapter into the content's network, at its start. Raises RefusedError for targets without a layer."""
    network, spec, training = content.network, content.spec.adapter, content.spec.training
    layers = choose_layers(network.module, spec.targets, network.own)
    transposed = all(map(is_transposed, layers.values()))
    start = {layer: a.to(content.device) for layer, a in draw_start(layers, spec.rank, spec.seed).items()}
    if spec.kind == "tangent":
        zeros = zero_b(layers, spec.rank)
        factors = {layer: Factor(start[layer], zeros[layer].to(content.device), spec.alpha / spec.rank) for layer in layers}
        model = TangentModel(network.module, factors)
        a, b = start, {layer: factor.b for layer, factor in model.factors.items()}
        run: Callable[[Inputs], Tensor] = lambda batch: model.run(lambda: network.run(batch))  # noqa: E731
    else:
        a, b = _inject(network.module, spec, start, transposed)
        run = network.run
    parameters = {f"{layer}.lora_B": _trained(factor) for layer, factor in b.items()}
    parameters |= {f"{layer}.lora_A": _trained(factor) for layer, factor in a.items()} if spec.kind == "lora" else {}
    head = _head(content)
    if training.head:
        parameters |= _head_parameters(content, head)
    return Trainee(content, parameters, lambda batch: _read(head, run(batch)), a, b, transposed, head)


def _inject(network: nn.Module, spec: AdapterSpec, start: Mapping[str, Tensor], transposed: bool) -> tuple[_Factors, _Factors]:
    """PEFT's LoRA in the network, its A at `start`; the factors by layer, as PEFT holds them."""
    from peft import LoraConfig, inject_adapter_in_model  # heavy, and tangent adapters do without

    pattern = "|".join(re.escape(layer) for layer in start)
    config = LoraConfig(
        r=spec.rank, lora_alpha=spec.alpha, target_modules=f"(?:{pattern})", fan_in_fan_out=transposed, lora_dropout=0.0, bias="none"
    )
    try:
        inject_adapter_in_model(config, network, _NAME)
    except ValueError as error:
        raise RefusedError([Fault(TARGETS, f"PEFT cannot adapt these layers: {error}")]) from error
    a, b = {}, {}
    for layer, a0 in start.items():
        module: Any = network.get_submodule(layer)
        a[layer], b[layer] = module.lora_A[_NAME].weight, module.lora_B[_NAME].weight
        with torch.no_grad():
            a[layer].copy_(a0)
            b[layer].zero_()
        a[layer].requires_grad_(spec.kind == "lora")
    return a, b


def _trained(tensor: Tensor) -> nn.Parameter:
    assert isinstance(tensor, nn.Parameter)  # made so by PEFT and TangentModel
    return tensor.requires_grad_(True)  # type: ignore[return-value]


def _head(content: Content) -> LinearHead | None:
    head = content.read_out.head
    if not isinstance(head, LinearHead):
        return None
    trains = content.spec.training.head
    weight, bias = (None if part is None else nn.Parameter(part.to(content.device, copy=True), trains) for part in (head.weight, head.bias))
    assert weight is not None
    return LinearHead(weight, bias)


def _head_parameters(content: Content, head: LinearHead | None) -> dict[str, nn.Parameter]:
    if isinstance(content.read_out.head, OwnHead):
        return {name: _trained(content.network.module.get_parameter(name)) for name in content.network.own}
    if head is None:
        raise RefusedError([Fault("training.head", "there is no head to train: the network's outputs are the task's")])
    parts = {"head.weight": head.weight} | ({} if head.bias is None else {"head.bias": head.bias})
    return {name: _trained(part) for name, part in parts.items()}


def _read(head: LinearHead | None, features: Tensor) -> Tensor:
    outputs = features.float() if head is None else head.apply(features)
    return outputs.reshape(len(outputs), -1)
