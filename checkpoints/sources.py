"""One tuned checkpoint as its base sees it: the seam behind which full weights and adapters look alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from checkpoints.read import MappedTensors


class TunedSource(Protocol):
    """Where the task vector v = theta_n - theta_0 of one tuned checkpoint comes from. Names are those of the base's tensors."""

    @property
    def tensors(self) -> MappedTensors:
        """What the checkpoint stores, under its own names."""

    @property
    def private(self) -> tuple[str, ...]:
        """Tensors that belong to this checkpoint's own task alone (a head), under its own names."""

    def private_tensor(self, name: str) -> Tensor:
        """One private tensor, whole, in its shape and dtype."""

    def touches(self, tensor: str) -> bool:
        """False where the task vector is known to be zero all over the tensor."""

    def weights(self, tensor: str, start: int, stop: int) -> Tensor | None:
        """theta_n itself over flat elements [start, stop), a view in its own dtype; None where only the difference is known."""

    def write_delta(self, tensor: str, start: int, stop: int, base: Tensor, out: Tensor) -> None:
        """Write v over flat elements [start, stop) into `out`. `base`: theta_0 there. Both stop - start, float32; `base` stays as it is."""


@dataclass(frozen=True)
class FullSource:
    """A tuned checkpoint that stores every weight. `aliases`: where it stores tensors of the base that it leaves out as tied."""

    tensors: MappedTensors
    private: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def private_tensor(self, name: str) -> Tensor:
        return self.tensors.tensor(name)

    def touches(self, tensor: str) -> bool:
        return True

    def weights(self, tensor: str, start: int, stop: int) -> Tensor:
        return self.tensors.flat(self.aliases.get(tensor, tensor), start, stop)

    def write_delta(self, tensor: str, start: int, stop: int, base: Tensor, out: Tensor) -> None:
        # convert first, then subtract: an operation on mixed dtypes runs element by element
        out.copy_(self.weights(tensor, start, stop)).sub_(base)
