"""A merge as a mergekit configuration that mergekit (0.1.5) itself runs to the same weights, or a refusal that says why not."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from checkpoints.errors import ExportError
from checkpoints.groups import Coefficients
from checkpoints.layout import INDEX, SINGLE, Layout
from checkpoints.model_set import ModelSet
from checkpoints.sources import FullSource
from checkpoints.transforms.prepare import prepare_trim
from checkpoints.transforms.spec import Dare, Magnitude, NoTransform, Scope, Ties, Transform

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def write_recipe(models: ModelSet, coefficients: Coefficients, transform: Transform) -> str:
    """The YAML of theta(c): task arithmetic with the coefficients as weights, or TIES.

    mergekit rounds once to the base's dtype, as we do. TIES can be written where all coefficients are equal, tensors are trimmed
    one by one, and no tie falls on a threshold (mergekit keeps an arbitrary part of the tied entries); finding that out reads the
    task vectors once. DARE cannot: mergekit draws its own random numbers.
    Raises ExportError with every reason why mergekit would not arrive at the same weights.
    """
    faults = [*_model_faults(models), *_transform_faults(models, coefficients, transform)]
    if faults:
        raise ExportError(f"mergekit cannot reproduce this merge: {faults[0]}", faults)
    method = _ties(coefficients, transform) if isinstance(transform, Ties) else {"merge_method": "task_arithmetic", **_parameters(False)}
    document = {
        **method,
        **_inputs(models, coefficients, transform),
        "dtype": _computed_in(transform),
        "out_dtype": _DTYPES[_dtypes(models)[0]],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _computed_in(transform: Transform) -> str:
    # sums in float64 round to our weights; signs are elected in float32 here, and a sum near zero must fall the same way there
    return "float32" if isinstance(transform, Ties) else "float64"


def _parameters(normalize: bool, **more: float) -> dict[str, Any]:
    return {"parameters": {"normalize": normalize, "rescale": False, "int8_mask": False, **more}}


def _ties(coefficients: Coefficients, transform: Ties) -> dict[str, Any]:
    # equal weights of 1, normalised: the mean over the agreeing entries, which lambda then scales
    scale = coefficients.rows[0][0]
    return {"merge_method": "ties", **_parameters(True, **{"lambda": scale, "density": transform.density})}


def _inputs(models: ModelSet, coefficients: Coefficients, transform: Transform) -> dict[str, Any]:
    weights = [1.0] * len(models.tuned) if isinstance(transform, Ties) else [_weight(coefficients, row) for row in range(len(models.tuned))]
    tuned = zip(models.sources.values(), weights, strict=True)
    return {
        "base_model": _path(models.base.layout),
        "models": [
            {"model": _path(source.tensors.layout), "parameters": {"weight": weight}}
            for source, weight in tuned
            if isinstance(source, FullSource)
        ],
    }


def _weight(coefficients: Coefficients, row: int) -> float | list[dict[str, Any]]:
    """One number, or one a tensor where groups differ, with the most common one for all others at the end."""
    values = {tensor: coefficients.rows[row][group] for tensor, group in coefficients.groups.members.items()}
    usual = Counter(values.values()).most_common(1)[0][0]
    special = {tensor: value for tensor, value in values.items() if value != usual}
    if not special:
        return usual
    # mergekit takes the first filter that is part of a name, so all names of a tensor's group are listed, longer ones first
    listed = sorted(_shadowed(values, special), key=len, reverse=True)
    return [{"filter": tensor, "value": values[tensor]} for tensor in listed] + [{"value": usual}]


def _shadowed(values: Mapping[str, float], special: Mapping[str, float]) -> Iterator[str]:
    """The tensors to list: the special ones, and whatever else their names would catch."""
    for tensor in values:
        if tensor in special or any(name in tensor for name in special):
            yield tensor


def _model_faults(models: ModelSet) -> Iterator[str]:
    layouts = {"the base": models.base.layout}
    for name, source in models.sources.items():
        if not isinstance(source, FullSource):
            yield f"{name} is an adapter, which mergekit first rounds into a copy of the base"
            continue
        layouts[name] = source.tensors.layout
        if source.aliases:
            yield f"{name} leaves out {', '.join(source.aliases)}, which the base stores"
        if source.private:
            yield f"{name} has tensors of its own task ({', '.join(source.private)}), which mergekit does not leave aside"
    for name, layout in layouts.items():
        yield from _layout_faults(name, layout)
    if models.roles.kept:
        yield f"mergekit would scale the integers in {', '.join(models.roles.kept)}"
    if models.roles.own:
        yield f"{', '.join(models.roles.own)} stay the base's, and mergekit would merge them"
    dtypes = _dtypes(models)
    if len(dtypes) != 1 or dtypes[0] not in _DTYPES:
        yield f"the base mixes or uses dtypes ({', '.join(dtypes)}) that mergekit does not write"


def _layout_faults(name: str, layout: Layout) -> Iterator[str]:
    standard = layout.index.name == INDEX if layout.index else layout.files[0].name == SINGLE
    if not standard or Path("config.json") not in layout.side_files:
        yield f"{name} at {layout.root} is no directory with config.json and {SINGLE}, which mergekit reads"
    if {"@", "+"} & set(_path(layout)):
        yield f"{name} lies at {_path(layout)}, and mergekit reads @ and + in a path as a revision and an adapter"


def _transform_faults(models: ModelSet, coefficients: Coefficients, transform: Transform) -> Iterator[str]:
    match transform:
        case NoTransform() | Dare(drop=0.0) | Magnitude(density=1.0):
            return
        case Ties():
            yield from _ties_faults(models, coefficients, transform)
        case Dare():
            yield "DARE draws other random numbers there"
        case Magnitude():
            yield "trimming by magnitude alone is none of its methods"


def _ties_faults(models: ModelSet, coefficients: Coefficients, transform: Ties) -> Iterator[str]:
    if len({value for row in coefficients.rows for value in row}) != 1:
        yield "its TIES elects signs among scaled task vectors, so only equal coefficients mean the same"
    if transform.density == 1.0:
        return
    if transform.scope is not Scope.TENSOR:
        yield "its TIES trims each tensor by itself, this one the whole model at once"
    elif prepare_trim(transform.density, Scope.TENSOR, models).cuts_ties:
        yield "entries of equal magnitude lie on a threshold of TIES, of which it keeps an arbitrary part"


def _dtypes(models: ModelSet) -> list[str]:
    return sorted({models.base.layout.entry(tensor).dtype for tensor in models.sizes})


def _path(layout: Layout) -> str:
    return str(layout.root.resolve())
