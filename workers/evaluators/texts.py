"""Texts as a transformer reads them: tokenised once, in batches of like length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.datasets.dataset import Texts
from app.datasets.split import Rows
from app.domain.errors import Fault, RefusedError
from app.domain.task import TaskSpec
from workers.evaluators.inputs import TOKENS, PreparedInputs
from workers.evaluators.network import Inputs, Network

DEFAULT_LENGTH = 512  # tokens, where the task names no limit
BATCH_TEXTS, BATCH_LOSSES = 32, 8


@dataclass(frozen=True)
class TextReader:
    """Turns texts into tokens: the base's own tokenizer, what stands where a text has ended, the most tokens the module takes, the
    names of its inputs, and how many texts a batch holds unless a task says so."""

    tokenizer: Any
    padding: int
    limit: int
    accepts: frozenset[str]
    batch: int


def open_text_reader(directory: Path, network: Network, where: str) -> TextReader:
    """The tokenizer beside the base's weights. Raises RefusedError where there is none."""
    from transformers import AutoTokenizer  # heavy, and tensors do without

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # the library raises whatever its parsers raise
        problem = f"{directory} holds no tokenizer that can be read, which data of texts needs: {error}"
        raise RefusedError([Fault(where, problem)]) from error
    files = tokenizer.vocab_files_names.values()
    if files and not any((directory / name).is_file() for name in (*files, "tokenizer.json")):
        # the library would make up a tokenizer that knows no word
        raise RefusedError([Fault(where, f"{directory} holds no tokenizer, which data of texts needs: none of {', '.join(sorted(files))}")])
    config = network.config.get_text_config()
    candidates = (config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    padding = next((int(token) for token in candidates if token is not None), 0)
    config.pad_token_id = padding  # heads that read the last token find it by the padding
    limit = min(int(tokenizer.model_max_length), getattr(config, "max_position_embeddings", DEFAULT_LENGTH))
    batch = BATCH_LOSSES if network.gives == "losses" else BATCH_TEXTS
    return TextReader(tokenizer, padding, limit, network.accepts or frozenset({TOKENS}), batch)


def prepare_texts(texts: Texts, reader: TextReader, task: TaskSpec, device: torch.device) -> PreparedInputs:
    """Tokenise once; batches hold texts of like length, the longest first, padded behind to their own longest.

    Texts are cut to the task's `max_length` tokens (by default 512), and to what the module takes. Raises RefusedError for
    texts that give no token.
    """
    columns = _tokenise(texts, reader, min(task.max_length or DEFAULT_LENGTH, reader.limit))
    lengths = np.array([len(row) for row in columns[TOKENS]])
    if not lengths.all():
        raise RefusedError(
            [Fault(f"tasks.{task.name}.data", f"{np.count_nonzero(lengths == 0)} texts are empty: the tokenizer gives no token")]
        )
    order = np.argsort(-lengths, kind="stable")
    size = task.batch or reader.batch
    batches = tuple(_pad(columns, order[start : start + size], reader.padding, device) for start in range(0, len(order), size))
    return PreparedInputs(batches, torch.from_numpy(np.argsort(order, kind="stable")))


def _tokenise(texts: Texts, reader: TextReader, max_length: int) -> dict[str, list[list[int]]]:
    second = None if texts.second is None else list(texts.second)
    encoded = reader.tokenizer(list(texts.first), second, truncation=True, max_length=max_length, padding=False)
    return {name: rows for name, rows in encoded.items() if name in reader.accepts}


def _pad(columns: Mapping[str, Sequence[Sequence[int]]], chosen: Rows, padding: int, device: torch.device) -> Inputs:
    length = max(len(columns[TOKENS][row]) for row in chosen)
    batch = {}
    for name, rows in columns.items():
        filled = np.full((len(chosen), length), padding if name == TOKENS else 0, np.int64)
        for place, row in enumerate(chosen):
            filled[place, : len(rows[row])] = rows[row]
        batch[name] = torch.from_numpy(filled).to(device)
    return batch
