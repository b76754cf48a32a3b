"""A merge as a directory that nobody has written: every file with its size and tag, its bytes computed when they are read."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

from app.actions.card import card_of, form_of
from app.actions.weights import open_paired
from app.domain.merge import Merge, chosen_point
from app.domain.study import ModelSetSpec, Study
from checkpoints.adapter_export import stack_adapters
from checkpoints.combine import Merge as Combination
from checkpoints.groups import Coefficients, Groups, group_tensors, spread_coefficients
from checkpoints.model_set import ModelSet
from checkpoints.pairing import Pairing
from checkpoints.stream import MergedFile, MergedFiles, Step
from checkpoints.tangent_export import check_weights, merge_tangent
from checkpoints.tangents import is_tangent
from checkpoints.task_vectors import BlockTransform
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import NoTransform, Transform, name_transform

CARD = "README.md"


class VirtualFile(Protocol):
    """One file of a merge. `tag`: changes whenever a byte of the file does."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def tag(self) -> str: ...

    def steps(self, begin: int, end: int) -> Iterator[Step]:
        """The bytes [begin, end) of the file, in order, each step to be called once, on any thread."""


@dataclass(frozen=True)
class HeldFile:
    """A small file; `make` gives its bytes, always the same."""

    name: str
    make: Callable[[], bytes]

    @cached_property
    def content(self) -> bytes:
        return self.make()

    @property
    def size(self) -> int:
        return len(self.content)

    @cached_property
    def tag(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def steps(self, begin: int, end: int) -> Iterator[Step]:
        yield lambda: memoryview(self.content)[begin:end]


@dataclass(frozen=True)
class ComputedFile:
    """Weights in full. `digest`: of the merge."""

    merged: MergedFile
    digest: str

    @property
    def name(self) -> str:
        return self.merged.name

    @property
    def size(self) -> int:
        return self.merged.size

    @cached_property
    def tag(self) -> str:
        return hashlib.sha256(f"{self.digest} {self.name}".encode()).hexdigest()

    def steps(self, begin: int, end: int) -> Iterator[Step]:
        return self.merged.steps(begin, end)


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What all merges of a study are made of. `prepared`: the transform after its pass over the task vectors."""

    models: ModelSet
    groups: Groups
    transform: Transform
    prepared: BlockTransform | None

    @property
    def makes_adapters(self) -> bool:
        """Whether a merge is an adapter, as its tuned checkpoints all are."""
        kinds = {source.tensors.layout.kind for source in self.models.sources.values()}
        return kinds == {"tangent"} or (kinds == {"lora"} and isinstance(self.transform, NoTransform))


def open_ingredients(study: Study, local: ModelSetSpec, pairing: Pairing) -> Ingredients:
    """`local`: the study's model set by paths on this machine. Raises CheckpointError. Trimming reads all task vectors here, once."""
    models = open_paired(local, pairing)
    spec = study.spec.transform
    transform = name_transform(spec.name, spec.density, spec.drop, spec.seed)
    groups = group_tensors(models.sizes, study.spec.space.groups)
    return Ingredients(models, groups, transform, prepare_transform(transform, models))


def merge_files(ingredients: Ingredients, study: Study, merge: Merge, whole: bool = False) -> Mapping[str, VirtualFile]:
    """Every file of a merge by name: weights in the base's layout with what stands beside them, or an adapter; and a model card.

    `whole`: weights in full even where the tuned checkpoints are adapters. Raises CheckpointError.
    """
    coefficients = spread_coefficients(merge.coefficients, ingredients.groups)
    if ingredients.makes_adapters and not whole:
        files = _adapter(ingredients, study.id, merge.coefficients)
        found: list[VirtualFile] = [HeldFile(name, _giving(content)) for name, content in files.items()]
    else:
        if any(merge.coefficients):  # the base is the base, whatever is trained on it
            check_weights(ingredients.models)
        found = _weights(ingredients, coefficients, merge.digest)
    form = form_of(ingredients.models) if ingredients.makes_adapters and not whole else "full weights"

    def card() -> bytes:
        return card_of(chosen_point(study, merge), ingredients.models, coefficients, ingredients.transform, "STUDY.yaml", form)

    return {file.name: file for file in (*found, HeldFile(CARD, card))}


def _weights(ingredients: Ingredients, coefficients: Coefficients, digest: str) -> list[VirtualFile]:
    layout = ingredients.models.base.layout
    merged = MergedFiles(Combination(ingredients.models, coefficients, ingredients.prepared), ingredients.transform)
    beside = [*layout.side_files, *([layout.index.relative_to(layout.root)] if layout.index else [])]
    found: list[VirtualFile] = [HeldFile(str(path), (layout.root / path).read_bytes) for path in beside]
    return found + [ComputedFile(file, digest) for file in merged.files.values()]


@lru_cache(maxsize=4)
def _adapter(ingredients: Ingredients, study_id: str, vector: tuple[float, ...]) -> Mapping[str, bytes]:
    models, coefficients = ingredients.models, spread_coefficients(vector, ingredients.groups)
    tangent = is_tangent(models)
    adapter = merge_tangent(models, coefficients, ingredients.transform) if tangent else stack_adapters(models, coefficients)
    # the hub serves the base under this name, so that whoever loads the adapter there finds it
    return replace(adapter, base=f"{study_id}/base").files()


def _giving(content: bytes) -> Callable[[], bytes]:
    return lambda: content
