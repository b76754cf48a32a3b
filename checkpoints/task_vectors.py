"""The seam between weights on disk and everything that reads task vectors from them, block by block."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class TaskVectors(Protocol):
    """The N task vectors of a model set, read in flat blocks so that a whole model never has to be in memory."""

    @property
    def tuned(self) -> tuple[str, ...]:
        """Names of the N tuned checkpoints, in coefficient order."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Merged tensors in the base's order, each with its number of elements."""

    def deltas(self, tensor: str, start: int, stop: int) -> Tensor:
        """v_n = theta_n - theta_0 over flat elements [start, stop) of one tensor: N x (stop - start), float32, a fresh tensor."""


class BlockTransform(Protocol):
    """A transform of the task vectors after its preparing pass over them (thresholds found, seeds fixed); pure from then on."""

    def apply(self, tensor: str, start: int, deltas: Tensor) -> Tensor:
        """Transformed task vectors of the block that begins at flat element `start`: N x block in, N x block out, float32.

        The result does not depend on how a tensor is cut into blocks.
        """
