"""A network as a study's architecture builds it: a module whose weights are still to come, and how it turns inputs into outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from workers.evaluators.naming import Naming

Inputs = Mapping[str, Tensor]

# features wait for a linear head (without one they are logits or values); logits, and losses (n x 1, nats), are scored as they are
Gives = Literal["features", "logits", "losses"]

LONE = "inputs"  # what the only input of a factory's module is called; it is passed by position


@dataclass(frozen=True)
class Network:
    """`run`: a batch of n examples by input name -> n x q. `lone`: the module's name for the only input of a dataset of tensors.

    `accepts`: the input names that the module takes, None where it takes any. `width`: number of features, where known.
    `naming`: how the family's checkpoints call the module's parameters; those of a factory's module have one name only.
    `own`: parameters of the task's own head in the module's order, which never merge. `spare`: parameters that `run` does not need.
    `config`: the family's own description of the module, where it has one.
    """

    module: nn.Module
    run: Callable[[Inputs], Tensor]
    gives: Gives
    lone: str = LONE
    accepts: frozenset[str] | None = None
    width: int | None = None
    naming: Naming = Naming()
    own: tuple[str, ...] = ()
    spare: frozenset[str] = frozenset()
    config: Any = None
