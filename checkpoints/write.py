"""Writes a merge to a directory: all of it or nothing."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from checkpoints.errors import WriteError
from checkpoints.stream import MergedFiles


def write_merge(
    files: MergedFiles,
    target: Path,
    extra: Mapping[str, bytes] | None = None,
    replace: bool = False,
    progress: Callable[[int], None] = lambda written: None,
) -> None:
    """Write a merge in the layout of its base: weight files, index, the base's side files (config, tokenizer).

    `extra`: further files by name (a model card); they win over the base's. `replace`: whether a directory that holds something may be
    replaced as a whole. `progress`: told the bytes of weights written since it was last told.
    Everything goes to a hidden directory beside `target`, reaches the disk, and takes the name `target` in the end: whoever is killed
    on the way leaves nothing under that name, and the next merge to it clears what was left.
    Raises WriteError (not empty, no space, not writable, two at once) and NotFiniteError; nothing is left behind then.
    """
    with _replacing(target, replace) as draft:
        _check_space(sum(file.size for file in files.files.values()), draft)
        for name, merged in files.files.items():
            _write_file(draft / name, _told(merged.read(), progress))
        _write_contents(draft, _beside(files, extra or {}))


def write_files(contents: Mapping[str, bytes], target: Path, replace: bool = False) -> None:
    """Write a directory of small files (an adapter, its card) as `write_merge` writes a merge. Raises WriteError."""
    with _replacing(target, replace) as draft:
        _check_space(sum(map(len, contents.values())), draft)
        _write_contents(draft, contents)


@contextmanager
def _replacing(target: Path, replace: bool) -> Iterator[Path]:
    """A directory to fill, which takes the name `target` once everything in it has reached the disk."""
    target = target.absolute()
    if not replace and _holds_something(target):
        raise WriteError(f"{target}: exists and is not empty; name another directory, or ask for it to be replaced")
    with _naming_path(target), _draft(target) as draft:
        yield draft
        _sync_directory(draft)
        _take_name(draft, target)


def _write_contents(draft: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        _write_file(draft / name, [memoryview(content)])


def _holds_something(target: Path) -> bool:
    return target.is_file() or (target.is_dir() and any(target.iterdir()))


@contextmanager
def _naming_path(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "free some space or name another place" if full else "name a directory that can be written"
        where = f" ({error.filename})" if error.filename else ""
        raise WriteError(f"{target}: cannot be written: {error.strerror}{where}; {advice}. Nothing was left behind") from error


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """An empty hidden directory beside `target`, ours alone, gone afterwards unless it has taken another name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.partial"
    draft.mkdir(exist_ok=True)
    handle = os.open(draft, os.O_RDONLY)
    try:
        _lock(handle, target)
        for leftover in draft.iterdir():  # of a merge that was killed: its lock died with it
            _remove(leftover)
        try:
            yield draft
        finally:
            if draft.exists():
                shutil.rmtree(draft)
    finally:
        os.close(handle)


def _lock(handle: int, target: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WriteError(f"{target}: another merge is being written there; wait for it or name another directory") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _check_space(needed: int, draft: Path) -> None:
    free = shutil.disk_usage(draft).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed} bytes are needed, {free} are free")


def _beside(files: MergedFiles, extra: Mapping[str, bytes]) -> dict[str, bytes]:
    layout = files.merge.models.base.layout
    found = {str(path): (layout.root / path).read_bytes() for path in layout.side_files}
    if files.index is not None and layout.index is not None:
        found[layout.index.name] = files.index
    return found | dict(extra)


def _told(chunks: Iterable[memoryview], progress: Callable[[int], None]) -> Iterator[memoryview]:
    for chunk in chunks:
        yield chunk
        progress(len(chunk))


def _write_file(path: Path, chunks: Iterable[memoryview]) -> None:
    with path.open("wb", buffering=0) as file:
        for chunk in chunks:
            rest = chunk
            while rest:
                rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_name(draft: Path, target: Path) -> None:
    old = draft.with_name(f".{target.name}.replaced")
    if old.exists():  # of a merge that was killed between the two renames below
        _remove(old)
    if _holds_something(target):
        target.rename(old)
    draft.rename(target)
    _sync_directory(target.parent)
    if old.exists():
        _remove(old)
