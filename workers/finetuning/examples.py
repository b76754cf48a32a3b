"""Examples as training reads them: prepared once, taken in any order."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from app.datasets.dataset import Texts
from app.datasets.split import Rows
from workers.evaluators.inputs import MASK, TOKENS, PreparedInputs, prepare_arrays
from workers.evaluators.network import Inputs
from workers.evaluators.texts import prepare_texts
from workers.finetuning.content import Content


class Examples:
    """The examples of some rows. `targets`: classes m, values m x q, or tokens m where the outputs are losses already."""

    def __init__(self, content: Content, rows: Rows) -> None:
        self._padding = 0 if content.reader is None else content.reader.padding
        self._prepared = _prepare(content, rows)
        self._texts = content.reader is not None
        losses = content.scored.outputs == "losses"
        self.targets = (self._tokens() if losses else content.targets(rows)).to(content.device)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, places: Tensor) -> Inputs:
        """The inputs of these examples as one batch."""
        if self._texts:
            singles = [self._prepared.batches[int(self._prepared.places[place])] for place in places]
            return {name: self._pad(name, [single[name][0] for single in singles]) for name in singles[0]}
        (columns,) = self._prepared.batches
        return {name: column[places.to(column.device)] for name, column in columns.items()}

    def _tokens(self) -> Tensor:
        """How many tokens each example's loss is a mean over."""
        masks = [batch.get(MASK, torch.ones_like(batch[TOKENS])) for batch in self._prepared.batches]
        return self._prepared.restore(torch.cat([mask.sum(1) for mask in masks]) - 1).clamp_min(0)

    def _pad(self, name: str, rows: list[Tensor]) -> Tensor:
        return pad_sequence(rows, batch_first=True, padding_value=self._padding if name == TOKENS else 0)


def _prepare(content: Content, rows: Rows) -> PreparedInputs:
    chosen = content.dataset.inputs.take(rows)
    if isinstance(chosen, Texts):
        assert content.reader is not None  # opened with the texts
        return prepare_texts(chosen, content.reader, replace(content.spec.task, batch=1), content.device)
    return prepare_arrays(chosen, content.network.lone, max(1, len(chosen)), torch.float32, content.device)


def parts_of(content: Content) -> Mapping[str, Examples]:
    """Train, held-out and report examples by name."""
    rows = {"train": content.parts.train, "held_out": content.parts.held_out, "report": content.parts.report}
    return {part: Examples(content, chosen) for part, chosen in rows.items()}
