"""Our own reading of a safetensors header, before any other parser sees the file.

Needs neither torch nor numpy, so a server can check what it is handed without loading them. A file that passes holds at most
MAX_TENSORS tensors with unique, harmless names, known dtypes and shapes, whose bytes cover the file without a hole or an overlap.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from checkpoints.errors import HeaderError

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 100_000
MAX_NAME = 512
MAX_RANK = 16
PREFIX_BYTES = 8  # the header's own length, little-endian

ITEM_BYTES: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
FLOATING = frozenset({"F64", "F32", "F16", "BF16"})

# how a pickle announces itself: zip archives of torch.save, and bare pickle protocols 2 to 5
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file. `dtype`: the format's own word, such as BF16. `begin`, `end`: byte offsets from the file's start."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def floating(self) -> bool:
        return self.dtype in FLOATING


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header. `tensors`: by name, in the order of their bytes. `data_begin`: where the bytes of tensors start."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    data_begin: int


def read_header(path: Path) -> Header:
    """Read and check the header of one safetensors file. Raises HeaderError for whatever breaks the format or our limits."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = _header_length(path, file.read(PREFIX_BYTES), size)
            raw = file.read(length)
    except OSError as error:
        raise HeaderError(path, f"cannot be read: {error.strerror}") from error
    if len(raw) != length:
        raise HeaderError(path, f"truncated: the header ends after {len(raw)} of {length} bytes")
    return _parse(path, raw, size)


def _header_length(path: Path, prefix: bytes, size: int) -> int:
    length = int.from_bytes(prefix, "little")
    # a header of 640 bytes starts like a pickle too, but then there is one
    if prefix.startswith(_PICKLE_STARTS) and (length > MAX_HEADER_BYTES or PREFIX_BYTES + length > size):
        raise HeaderError(path, "this is a pickle, which can run code when read: save it again with safetensors.torch.save_file")
    if len(prefix) < PREFIX_BYTES:
        raise HeaderError(path, f"truncated: {size} bytes are too few for a safetensors file")
    if length > MAX_HEADER_BYTES:
        raise HeaderError(path, f"a header of {length} bytes exceeds the limit of {MAX_HEADER_BYTES}: no safetensors file, or hostile")
    if PREFIX_BYTES + length > size:
        raise HeaderError(path, f"truncated: the header needs {PREFIX_BYTES + length} bytes, the file has {size}")
    return length


def _parse(path: Path, raw: bytes, size: int) -> Header:
    document = _decode(path, raw)
    metadata = _metadata(path, document.pop("__metadata__", {}))
    if len(document) > MAX_TENSORS:
        raise HeaderError(path, f"{len(document)} tensors exceed the limit of {MAX_TENSORS}")
    data_begin = PREFIX_BYTES + len(raw)
    entries = sorted((_entry(path, name, value, data_begin) for name, value in document.items()), key=_place)
    _check_cover(path, entries, data_begin, size)
    return Header({entry.name: entry for entry in entries}, metadata, data_begin)


def _place(entry: TensorEntry) -> tuple[int, int]:
    return entry.begin, entry.end


def _decode(path: Path, raw: bytes) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            names = [name for name, _ in pairs]
            raise HeaderError(path, f"the key {next(name for name in names if names.count(name) > 1)!r} appears twice in the header")
        return fields

    def refuse(constant: str) -> NoReturn:
        raise HeaderError(path, f"the header holds {constant}, which is no JSON")

    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested beyond reason
        raise HeaderError(path, f"the header is not JSON in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise HeaderError(path, "the header is not a JSON object")
    return document


def _metadata(path: Path, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise HeaderError(path, "__metadata__ must map texts to texts")
    return value


def _entry(path: Path, name: str, value: object, data_begin: int) -> TensorEntry:
    _check_name(path, name)
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(path, f"tensor {name!r}: needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise HeaderError(path, f"tensor {name!r}: dtype {dtype!r} is none of {', '.join(ITEM_BYTES)}")
    if not _naturals(shape) or len(shape) > MAX_RANK:
        raise HeaderError(path, f"tensor {name!r}: shape {shape!r} is not a list of at most {MAX_RANK} numbers from 0 up to 2^48")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise HeaderError(path, f"tensor {name!r}: data_offsets {offsets!r} are not a begin and an end")
    if math.prod(shape) * ITEM_BYTES[dtype] != offsets[1] - offsets[0]:
        raise HeaderError(path, f"tensor {name!r}: {dtype} of shape {shape} does not take {offsets[1] - offsets[0]} bytes")
    return TensorEntry(name, dtype, tuple(shape), data_begin + offsets[0], data_begin + offsets[1])


def _check_name(path: Path, name: str) -> None:
    if not 0 < len(name) <= MAX_NAME:
        raise HeaderError(path, f"a tensor name of {len(name)} characters: from 1 to {MAX_NAME} are allowed")
    if not name.isprintable():
        raise HeaderError(path, f"tensor name {name!r} holds a character that cannot be printed")
    if "/" in name or "\\" in name:
        segments = name.replace("\\", "/").split("/")
        if "" in segments or ".." in segments or "." in segments:
            raise HeaderError(path, f"tensor name {name!r} looks like a path out of its directory")


# a single extent beyond this is hostile: no file holds it, and products of such extents overflow 64-bit readers even where one factor is 0
_MAX_EXTENT = 1 << 48


def _naturals(values: object) -> bool:
    if not isinstance(values, list):
        return False
    return not values or (set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= _MAX_EXTENT)


def _check_cover(path: Path, entries: list[TensorEntry], data_begin: int, size: int) -> None:
    reached = data_begin
    for entry in entries:
        if entry.begin != reached:
            what = "overlaps the tensor before it" if entry.begin < reached else "leaves a hole before it"
            raise HeaderError(path, f"tensor {entry.name!r}: its data {what} (begins at byte {entry.begin}, expected {reached})")
        reached = entry.end
    if reached > size:
        raise HeaderError(path, f"truncated: the tensors need {reached} bytes, the file has {size}")
    if reached < size:
        raise HeaderError(path, f"{size - reached} bytes behind the last tensor belong to none")
