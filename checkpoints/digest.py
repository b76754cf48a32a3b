"""Checkpoints by content: sha256 of files, and of what a checkpoint's files say together."""

import hashlib
from pathlib import Path

from checkpoints.layout import ADAPTER_CONFIG, Layout


def digest_file(path: Path) -> str:
    """The lower-case hexadecimal sha256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_layout(layout: Layout) -> str:
    """One sha256 over the names and contents of the files that hold weights, and of an adapter's config, which scales them.

    A single file has its own digest, whatever it is called. Raises OSError.
    """
    files = [file.path for file in layout.files]
    if layout.kind == "lora":
        files.append(layout.root / ADAPTER_CONFIG)
    if len(files) == 1:
        return digest_file(files[0])
    lines = "".join(f"{digest_file(path)}  {path.name}\n" for path in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()
