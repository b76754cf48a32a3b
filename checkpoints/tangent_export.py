"""Merges of tangent adapters as what they are: one tangent adapter of the same base, start A0 and rank."""

from dataclasses import replace

from checkpoints.adapters import AdapterSource
from checkpoints.errors import ExportError
from checkpoints.groups import Coefficients
from checkpoints.linearised import LinearisedAdapter, merge_linearised, read_linearised
from checkpoints.model_set import ModelSet
from checkpoints.tangents import is_tangent
from checkpoints.transforms.spec import NoTransform, Transform

HOW_TO_LOAD = """The network is linear in these weights, so that they are no weights of the base's architecture, and PEFT refuses them.
In Python, with `network` a torch.nn.Module that holds the base's weights:

```python
from workers.adapters.tangent import load_tangent

model = load_tangent(network.eval(), directory)  # outputs = model(inputs)
```"""


def check_weights(models: ModelSet) -> None:
    """Raises ExportError where merged weights in full would be those of another function: that of the network, not linearised."""
    if is_tangent(models):
        raise ExportError("merges of tangent adapters have no weights in full, since their network is linear in them: ask for the adapter")


def merge_tangent(models: ModelSet, coefficients: Coefficients, transform: Transform) -> LinearisedAdapter:
    """The adapter of sum c_n (s_n B_n) A0, layer by layer where layers are grouped. Heads stay with their tasks.

    Raises ExportError where a transform of the task vectors, which leaves no such sum, is part of the merge.
    """
    if not isinstance(transform, NoTransform):
        raise ExportError("a transform of task vectors leaves no adapter of one A0: give a study of tangent adapters transform none")
    adapters = {name: read_linearised(source.tensors.layout.root) for name, source in models.sources.items()}
    columns = zip(*coefficients.rows, strict=True)
    merged = [merge_linearised(adapters, column) for column in columns]
    groups = _groups(models, coefficients)
    b = {layer: merged[groups[layer]].b[layer] for layer in merged[0].b}
    return replace(merged[0], b=b, base=str(models.base.layout.root))


def _groups(models: ModelSet, coefficients: Coefficients) -> dict[str, int]:
    """The group of every adapted layer, by the adapters' own names."""
    members = coefficients.groups.members
    names = [item for source in models.sources.values() if isinstance(source, AdapterSource) for item in source.names.items()]
    return {stored.removesuffix(".weight"): members[tensor] for tensor, stored in names if tensor in members}
