"""A network linearised in the B of its adapters, through all of its layers: f(x; phi0) + J_B(x) B at phi0 = (A0, B = 0)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from app.domain.errors import Fault, RefusedError
from checkpoints.linearised import read_linearised
from workers.adapters.factors import Factor, adaptable, apply_factor, apply_weight, is_plain

_FUSED = ("flash", "flex")


class TangentModel(nn.Module):
    """A network and its factors; `forward` takes what the network takes and gives what it gives, linearised.

    `network`: holds the base's weights and stays as it is; used in its own mode, so put it into `eval`. `factors`: by layer name.
    The factors B are parameters, A0 are buffers. Raises RefusedError for a network whose attention is forced into a fused kernel, which has
    no forward derivative: load it with attn_implementation "eager" or "sdpa".
    """

    def __init__(self, network: nn.Module, factors: Mapping[str, Factor]) -> None:
        super().__init__()
        _check_attention(network)
        self.network = network
        self.layers = tuple(factors)
        self.scales = tuple(factor.scale for factor in factors.values())
        self.b = nn.ParameterList([nn.Parameter(factor.b) for factor in factors.values()])
        for number, factor in enumerate(factors.values()):
            self.register_buffer(f"a{number}", factor.a)

    @property
    def factors(self) -> dict[str, Factor]:
        """As they stand, by layer name."""
        start = (self.get_buffer(f"a{number}") for number in range(len(self.layers)))
        return {layer: Factor(a, b, s) for layer, a, b, s in zip(self.layers, start, self.b, self.scales, strict=True)}

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.run(lambda: self.network(*inputs, **named))

    def run(self, call: Callable[[], Any]) -> Any:
        """The linearised value of whatever `call` computes through the network."""
        value, slope = push_forward(self.network, self.factors, call)
        leaves, form = tree_flatten(value)
        return tree_unflatten([leaf + change for leaf, change in zip(leaves, tree_flatten(slope)[0], strict=True)], form)


def load_tangent(network: nn.Module, directory: Path) -> TangentModel:
    """The model of a tangent adapter on disk: `network` with the base's weights, linearised, its own head's parameters set.

    Raises CheckpointError for a directory that holds no such adapter, RefusedError for one that does not fit the network.
    """
    adapter = read_linearised(directory)
    if adapter.metadata.kind != "tangent":
        raise RefusedError([Fault(str(directory), f"holds a {adapter.metadata.kind} adapter: load it with peft")])
    lost = [name for name in adapter.a if name not in adaptable(network)]
    if lost:
        raise RefusedError([Fault(str(directory), f"adapts layers that the network does not have: {', '.join(lost)}")])
    for name, tensor in adapter.private.items():
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, nn.Parameter(tensor, requires_grad=False))
    like = next(network.parameters())
    factors = {name: Factor(adapter.a[name].to(like), adapter.b[name].to(like), adapter.scale) for name in adapter.a}
    return TangentModel(network, factors)


def push_forward(network: nn.Module, factors: Mapping[str, Factor], call: Callable[[], Any]) -> tuple[Any, Any]:
    """f at (A0, 0) and J_B B, both in the form that `call` gives: a tensor, or a tree of tensors.

    `call` computes with the network; gradients flow into the factors' B, and into what else of the network takes any. Raises
    RefusedError where a layer has no forward derivative.
    """
    form: list[Any] = []

    def outputs(still: Tensor) -> list[Tensor]:
        leaves, spec = tree_flatten(call())
        form[:] = [spec]
        return leaves

    # what moves enters at the layers, nothing by the arguments
    still = torch.zeros(())
    with differentiable_layers(), _moved(network, factors):
        pair: Any = torch.func.jvp(outputs, (still,), (still,))
    values, slopes = pair
    return tree_unflatten(values, form[0]), tree_unflatten(slopes, form[0])


class _Layer:
    """A linear layer while the network is differentiated: its output moves by W dx + s B A x, as far as there are dx and a factor.

    At B = 0 neither dx nor the product's value gets through the factor. Generic derivatives would compute both, and products with
    a dW and an A dx of zeros.
    """

    def __init__(self, factor: Factor | None, plain: bool) -> None:
        self._factor, self._plain = factor, plain
        self._change: Tensor | None = None

    def take(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._factor is None and not args:  # given by name: its derivative is found all the same
            return args
        value, slope = _parts(args[0])
        self._change = None if self._factor is None else apply_factor(module, value, self._factor)
        if not self._plain or slope is None:
            return args
        change = apply_weight(module, slope)
        self._change = change if self._change is None else change + self._change
        return (value, *args[1:])

    def give(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        change, self._change = self._change, None
        if change is None:
            return output
        value, slope = _parts(output)
        moved: Tensor = forward_ad.make_dual(value, change if slope is None else slope + change)  # type: ignore[no-untyped-call]
        return moved


def _parts(tensor: Tensor) -> tuple[Tensor, Tensor | None]:
    """Value and slope, None where it stands still."""
    value, slope = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    return value, slope


@contextmanager
def _moved(network: nn.Module, factors: Mapping[str, Factor]) -> Iterator[None]:
    """Within, what every layer of `factors` gives also moves by s B A x."""
    with ExitStack() as stack:
        for name, module in adaptable(network).items():
            factor, plain = factors.get(name), is_plain(module)
            if plain or factor is not None:
                layer = _Layer(factor, plain)
                stack.callback(module.register_forward_pre_hook(layer.take).remove)
                stack.callback(module.register_forward_hook(layer.give).remove)
        yield


@contextmanager
def differentiable_layers() -> Iterator[None]:
    """Within, attention runs in plain operations, since fused kernels have no forward derivative.

    Raises RefusedError for another layer that has none.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    except (NotImplementedError, RuntimeError) as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise refusal from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _check_attention(network: Any) -> None:
    forced = str(getattr(getattr(network, "config", None), "_attn_implementation", None) or "")
    if any(word in forced for word in _FUSED):
        problem = f"attention is forced into {forced!r}, which has no forward derivative"
        raise RefusedError([Fault("architecture", f"{problem}: load the network with attn_implementation 'eager' or 'sdpa'")])


def _refusal(error: Exception) -> RefusedError | None:
    text = str(error)
    if not any(words in text for words in ("forward AD", "forward mode AD", "forward-mode")):
        return None
    problem = "a layer has no forward derivative, which linearising through the whole network takes; fused attention is one such"
    return RefusedError([Fault("architecture", f"{problem}: {text.splitlines()[0]}")])
