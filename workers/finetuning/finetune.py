"""One fine-tuning from its spec to the files of its adapter."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from app.domain.errors import ConflictError
from app.domain.finetune import FinetuneSpec
from checkpoints.adapter_metadata import digest_base
from checkpoints.layout import ADAPTER, ADAPTER_CONFIG, HEAD
from checkpoints.linearised import read_linearised
from checkpoints.pack import pack_tensors
from workers.finetuning.content import read_content
from workers.finetuning.saved_state import FILE, digest_spec, write_file
from workers.finetuning.train import Advance, Trained, train
from workers.finetuning.trainee import Trainee, adapt
from workers.hold import hold_directory


def finetune(
    spec: FinetuneSpec, directory: Path, device: str, tell: Callable[[Advance], None] = lambda advance: None, base_name: str = ""
) -> Trained:
    """Train the adapter of `spec` and write it to `directory`; cut short and started again, it goes on to the same adapter.

    `device`: cpu, cuda, cuda:1. `tell` is called at every step, and may raise to stop; the state stays. `base_name`: what the adapter
    calls its base, by default the place where it lies.
    Raises RefusedError with every fault of the spec, ConflictError for a directory that is in use or holds something else,
    MeasurementError where the loss is no longer finite.
    """
    content = read_content(spec, device)
    trainee = adapt(content)
    _check_open(directory)
    with hold_directory(directory, ".lock", "--out"):
        trained = train(trainee, directory, digest_spec(spec, digest_base(content.base)), tell)
        _write(trainee, trained, directory, base_name)
    return trained


def finished_scores(directory: Path) -> Mapping[str, float] | None:
    """The scores of a fine-tuning that ended in `directory`; None where none did."""
    ended = (directory / ADAPTER_CONFIG).exists() and not (directory / FILE).exists()
    return read_linearised(directory).metadata.scores if ended else None


def _write(trainee: Trainee, trained: Trained, directory: Path, base_name: str) -> None:
    head = trainee.head
    if head is not None and trainee.content.spec.training.head:
        parts = {"weight": head.weight} | ({} if head.bias is None else {"bias": head.bias})
        write_file(directory / HEAD, pack_tensors(parts, {"format": "pt"}))
    adapter = trainee.adapter(trained.scores)
    files = (replace(adapter, base=base_name) if base_name else adapter).files()
    for name in (ADAPTER, ADAPTER_CONFIG):  # the configuration last: without it there is no adapter here
        write_file(directory / name, files[name])
    (directory / FILE).unlink(missing_ok=True)


def _check_open(directory: Path) -> None:
    if (directory / ADAPTER_CONFIG).exists() and not (directory / FILE).exists():
        raise ConflictError(f"{directory} holds a finished adapter; name another directory")
