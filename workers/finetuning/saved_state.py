"""Where a training stands, on disk: written whole, replaced at once, so that a killed one goes on as if it had not been."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from app.domain.errors import ConflictError
from app.domain.finetune import FinetuneSpec
from checkpoints.digest import digest_file
from checkpoints.errors import HeaderError
from checkpoints.header import read_header
from checkpoints.pack import pack_tensors

FILE = "training.safetensors"


@dataclass
class Standing:
    """`step`: how many have been taken. `best`: of the best epoch so far its score and loss, both turned so that larger is better; `stale`:
    how many epochs ago that was.

    `spent`: seconds of training. `scores`: held-out score of every epoch.
    """

    step: int = 0
    best: tuple[float, float] | None = None
    stale: int = 0
    spent: float = 0.0
    scores: list[float] = field(default_factory=list)


def digest_spec(spec: FinetuneSpec, base: str) -> str:
    """What a training is a training of: its options, and the bytes of what they name. `base`: digest of the base's tensors."""
    files = [spec.task.data, *([] if spec.task.head is None else [spec.task.head.partition("#")[0]])]
    contents = [digest_file(Path(path)) for path in files if Path(path).is_file()]
    return hashlib.sha256(json.dumps([asdict(spec), base, contents], sort_keys=True).encode()).hexdigest()


def save_state(directory: Path, digest: str, standing: Standing, tensors: Mapping[str, Tensor]) -> None:
    """Replace the state in `directory`. Tensors on any device."""
    write_file(directory / FILE, pack_tensors(tensors, {"digest": digest, "standing": json.dumps(asdict(standing))}))


def load_state(directory: Path, digest: str) -> tuple[Standing, dict[str, Tensor]] | None:
    """The state in `directory`, None where nothing was begun. Raises ConflictError for another training's, or an unreadable one."""
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        metadata = read_header(path).metadata
    except HeaderError as error:
        raise ConflictError(f"{path} cannot be read; remove it to begin anew: {error}") from error
    if metadata.get("digest") != digest:
        raise ConflictError(f"{path} is the state of another training: go on with its options, remove it, or name another --out")
    fields = json.loads(metadata["standing"])
    best = None if fields["best"] is None else tuple(fields["best"])
    return Standing(**fields | {"best": best}), load_file(path)


def write_file(path: Path, content: bytes) -> None:
    """All of it or nothing, on the disk when this returns."""
    draft = path.with_name(f".{path.name}.partial")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
