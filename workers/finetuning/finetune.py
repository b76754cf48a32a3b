"""One fine-tuning from its spec to the files of its adapter."""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app.domain.errors import ConflictError, Fault, RefusedError
from app.domain.finetune import FinetuneSpec
from checkpoints.adapter_metadata import digest_base
from checkpoints.layout import ADAPTER, ADAPTER_CONFIG, HEAD
from checkpoints.linearised import read_linearised
from checkpoints.pack import pack_tensors
from workers.finetuning.content import read_content
from workers.finetuning.saved_state import FILE, digest_spec, write_file
from workers.finetuning.train import Advance, Trained, train
from workers.finetuning.trainee import Trainee, adapt


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
    with _hold(directory):
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


@contextmanager
def _hold(directory: Path) -> Iterator[None]:
    if (directory / ADAPTER_CONFIG).exists() and not (directory / FILE).exists():
        raise ConflictError(f"{directory} holds a finished adapter; name another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise RefusedError([Fault("--out", f"{directory} cannot be written: {error.strerror}; choose another directory")]) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(f"{directory} is in use by another process; wait for it, or choose another --out") from error
        yield
