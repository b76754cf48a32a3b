"""How one checkpoint lies on disk: which files hold which tensors, and what stands beside them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from checkpoints.errors import LayoutError
from checkpoints.header import Header, TensorEntry, read_header

Kind = Literal["full", "lora", "tangent"]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
HEAD = "head.safetensors"  # a linear head that was trained beside an adapter
TANGENT = "MERGEFRONT_TANGENT"  # the peft_type of adapters of a linearised network, which PEFT must not load as LoRA

_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
_SIDE_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja", ".py", ".tiktoken", ".bpe", ".spm"})
_SIDE_STEMS = ("LICENSE", "LICENCE", "NOTICE")


@dataclass(frozen=True)
class WeightFile:
    """One safetensors file with its checked header."""

    path: Path
    header: Header

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Placement:
    """Where a tensor lies: the number of its file in `Layout.files`, and its entry there."""

    file: int
    entry: TensorEntry


@dataclass(frozen=True)
class Layout:
    """A checkpoint on disk, all headers checked.

    `kind`: full weights, a PEFT adapter, or an adapter of a linearised network. `root`: the directory of the files.
    `tensors`: over all files, in file order. `index`: the shard index where there is one.
    `side_files`: config, tokenizer and the like, relative to `root`.
    """

    kind: Kind
    root: Path
    files: tuple[WeightFile, ...]
    tensors: Mapping[str, Placement]
    index: Path | None = None
    side_files: tuple[Path, ...] = ()

    def entry(self, tensor: str) -> TensorEntry:
        return self.tensors[tensor].entry


def open_layout(path: Path) -> Layout:
    """Find the weights at `path`: one safetensors file, a directory of a model (single or sharded), or of a PEFT adapter.

    Raises LayoutError (nothing there, pickles only, an index that lies) with every fault and what to do; HeaderError for a file.
    """
    if path.is_dir():
        return _open_directory(path)
    if not path.exists():
        raise LayoutError(f"{path}: no such file or directory; give a .safetensors file or a directory that holds one")
    if path.suffix.lower() in _PICKLES:
        raise LayoutError(_pickle_fault([path]))
    return _single("full", path)


def _open_directory(root: Path) -> Layout:
    side_files = tuple(_side_files(root))
    if (root / ADAPTER_CONFIG).is_file() and (root / ADAPTER).is_file():
        return _single(_adapter_kind(root / ADAPTER_CONFIG), root / ADAPTER, side_files)
    if (root / SINGLE).is_file():
        return _single("full", root / SINGLE, side_files)
    if (root / INDEX).is_file():
        return _sharded(root / INDEX, side_files)
    weights = sorted(root.glob("*.safetensors"))
    if len(weights) == 1 and weights[0].name != ADAPTER:
        return _single("full", weights[0], side_files)
    raise LayoutError(_no_weights(root, weights))


def _adapter_kind(config: Path) -> Kind:
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LayoutError(f"{config}: cannot be read as JSON: {error}") from error
    return "tangent" if isinstance(document, dict) and document.get("peft_type") == TANGENT else "lora"


def _no_weights(root: Path, weights: Sequence[Path]) -> str:
    if weights and weights[0].name == ADAPTER:
        return f"{root}: {ADAPTER} without {ADAPTER_CONFIG}: the adapter's rank and scale stand in that file"
    if weights:
        return f"{root}: {len(weights)} safetensors files without {INDEX}: name one of them, or add the index"
    pickles = sorted(path for path in root.iterdir() if path.suffix.lower() in _PICKLES)
    if pickles:
        return _pickle_fault(pickles)
    return f"{root}: holds no weights; expected {SINGLE}, {INDEX} or {ADAPTER}"


def _pickle_fault(paths: Sequence[Path]) -> str:
    names = ", ".join(str(path) for path in paths[:3]) + (" ..." if len(paths) > 3 else "")
    return (
        f"{names}: pickle files can run code when read and are not opened. Convert them once, where you trust them: "
        "AutoModel.from_pretrained(DIR).save_pretrained(NEW), or "
        'safetensors.torch.save_file(torch.load(FILE, weights_only=True), "model.safetensors")'
    )


def _single(kind: Kind, path: Path, side_files: tuple[Path, ...] = ()) -> Layout:
    file = WeightFile(path, read_header(path))
    return Layout(kind, path.parent, (file,), {name: Placement(0, entry) for name, entry in file.header.tensors.items()}, None, side_files)


def _sharded(index: Path, side_files: tuple[Path, ...]) -> Layout:
    root = index.parent
    weight_map = _read_weight_map(index)
    names = sorted(set(weight_map.values()))
    missing = [f"{index}: names the shard {name!r}, which is not in {root}" for name in names if not _is_shard(root, name)]
    if missing:
        raise _fault_list(missing)
    files = tuple(WeightFile(root / name, read_header(root / name)) for name in names)
    faults = list(_index_faults(index, weight_map, files))
    if faults:
        raise _fault_list(faults)
    tensors = {name: Placement(number, entry) for number, file in enumerate(files) for name, entry in file.header.tensors.items()}
    return Layout("full", root, files, tensors, index, side_files)


def _read_weight_map(index: Path) -> dict[str, str]:
    try:
        document = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LayoutError(f"{index}: cannot be read as JSON: {error}") from error
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise LayoutError(f"{index}: needs a weight_map from tensor names to shard names")
    return weight_map


def _is_shard(root: Path, name: str) -> bool:
    # a plain name: an index must not reach files outside its own directory
    plain = name.endswith(".safetensors") and name.isprintable() and "/" not in name and "\\" not in name
    return plain and (root / name).is_file()


def _index_faults(index: Path, weight_map: Mapping[str, str], files: Sequence[WeightFile]) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for file in files:
        for tensor in file.header.tensors:
            found.setdefault(tensor, []).append(file.name)
    for tensor, shard in weight_map.items():
        if shard not in found.get(tensor, ()):
            yield f"{index}: places {tensor!r} in {shard}, which does not hold it"
    for tensor, shards in found.items():
        for shard in shards:
            if weight_map.get(tensor) != shard:
                yield f"{index}: {shard} holds {tensor!r}, which the index does not place there"


def _fault_list(faults: Sequence[str]) -> LayoutError:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return LayoutError(faults[0] + more, faults)


def _side_files(root: Path) -> Iterator[Path]:
    # "[0-9]_*" are the module folders of sentence-transformers; other folders (old runs, logs) do not belong to the model
    for path in sorted((*root.glob("*"), *root.glob("[0-9]_*/*"))):
        kept = path.suffix.lower() in _SIDE_SUFFIXES or path.name.upper().startswith(_SIDE_STEMS)
        if kept and path.is_file() and path.name != INDEX and not path.name.startswith("."):
            yield path.relative_to(root)
