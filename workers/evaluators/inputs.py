"""Inputs of a task's split, prepared once: batches on the device, and where each of their rows belongs."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.datasets.dataset import Arrays, Dataset, Texts
from app.domain.errors import Fault
from workers.evaluators.network import LONE, Inputs, Network

TOKENS, MASK, PIXELS = "input_ids", "attention_mask", "pixel_values"
BATCH_ARRAYS = 64


@dataclass(frozen=True)
class PreparedInputs:
    """`batches` in the order of cost; `places`: m, for each example its row among all rows of the batches."""

    batches: tuple[Inputs, ...]
    places: Tensor

    def restore(self, rows: Tensor) -> Tensor:
        """Rows in the order of the batches -> in the order of the examples."""
        return rows[self.places]


def prepare_arrays(arrays: Arrays, lone: str, batch: int | None, dtype: torch.dtype, device: torch.device) -> PreparedInputs:
    """Batches of tensors, floating ones in the module's `dtype`; a lone `inputs` is renamed to `lone`, the module's name for it."""
    columns = {lone if name == LONE else name: column for name, column in arrays.columns.items()}
    tensors = {name: _tensor(column, dtype).to(device) for name, column in columns.items()}
    size = batch or BATCH_ARRAYS
    starts = range(0, len(arrays), size)
    batches = tuple({name: tensor[start : start + size] for name, tensor in tensors.items()} for start in starts)
    return PreparedInputs(batches, torch.arange(len(arrays)))


def input_faults(dataset: Dataset, network: Network, where: str) -> list[Fault]:
    """Inputs that the network does not take, under the key path `where`."""
    if isinstance(dataset.inputs, Texts):
        if network.accepts is None:
            return [Fault(where, "a factory's module reads tensors, not texts: give a .safetensors file, or architecture transformers")]
        if network.lone != TOKENS:
            return [Fault(where, f"the module reads {network.lone}, not texts")]
        if network.gives == "losses" and dataset.inputs.second is not None:
            return [Fault(where, "a causal language model reads `text` alone, not pairs")]
        return []
    names = {network.lone if name == LONE else name for name in dataset.inputs.columns}
    unknown = sorted(names - network.accepts) if network.accepts is not None else []
    faults = [Fault(where, f"the module takes no input {name!r}") for name in unknown]
    pixels = [column for name, column in dataset.inputs.columns.items() if name in (LONE, PIXELS)]
    if network.lone == PIXELS and any(column.dtype.kind != "f" for column in pixels):
        faults.append(Fault(where, "pixel_values must be floats as the model's image processor makes them, not integers"))
    return faults


def _tensor(column: np.ndarray, dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(column))
    if tensor.is_floating_point():
        return tensor.to(dtype)
    return tensor.long() if tensor.dtype in (torch.int8, torch.int16, torch.int32) else tensor
