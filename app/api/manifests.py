"""Study manifests as bodies of requests: JSON, or YAML as in the file."""

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import yaml
from fastapi import Request

from app.api.problems import ProblemError
from app.config import Settings
from app.domain.errors import ManifestError
from app.domain.study import StudySpec
from app.manifest.finetune import FinetuneShape
from app.manifest.read import parse_document, parse_manifest
from app.manifest.schema import ManifestShape

EXAMPLE: dict[str, Any] = {
    "name": "images-2",
    "models": {"base": "base.safetensors", "tuned": {"mnist": "mnist.safetensors", "landsat": "landsat.safetensors"}},
    "architecture": {"factory": "net.py:Net"},
    "tasks": {
        "mnist": {"data": "mnist-test.safetensors", "metric": "accuracy", "split": {"search": 0.4, "report": 0.6, "seed": 0}},
        "landsat": {"data": "landsat-test.safetensors", "metric": "accuracy"},
    },
    "space": {"low": 0.0, "high": 1.0, "groups": "task"},
    "transform": "none",
    "method": {"name": "map", "surrogate": "auto", "budget": 20, "seed": 0},
    "front": {"points": 50, "verify": 4, "solver": "scalarised"},
    "baselines": ["average", "task_arithmetic"],
}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "description": "The study manifest. Files are named by `ckpt_...` and `ds_...` ids, or by paths in the operator's directories.",
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/ManifestShape"}, "example": EXAMPLE},
        "application/yaml": {"schema": {"$ref": "#/components/schemas/ManifestShape"}, "example": EXAMPLE},
    },
}
FINETUNE_EXAMPLE: dict[str, Any] = {
    "base": "base.safetensors",
    "architecture": {"factory": "net.py:Net"},
    "task": {"data": "mnist-test.safetensors", "metric": "accuracy", "split": {"search": 0.4, "report": 0.6, "seed": 0}},
    "adapter": {"kind": "llora", "rank": 8, "alpha": 16.0, "targets": [], "seed": 0},
    "training": {"epochs": 5, "learning_rate": 0.001, "batch": 32, "head": False},
}
FINETUNE_BODY: dict[str, Any] = {
    "required": True,
    "description": "What trains on what. Files are named by `ckpt_...` and `ds_...` ids, or by paths in the operator's directories.",
    "content": {
        media: {"schema": {"$ref": "#/components/schemas/FinetuneShape"}, "example": FINETUNE_EXAMPLE}
        for media in ("application/json", "application/yaml")
    },
}
SHAPES = (ManifestShape, FinetuneShape)
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")


async def read_manifest(request: Request) -> dict[str, Any]:
    """The body as plain values. Raises ProblemError: 415 for other media, 400 for what is no JSON or YAML, 422 for no mapping."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and media not in _YAML:
        raise ProblemError(415, f"a manifest is application/json or application/yaml, not {media or 'without a media type'}")
    body = await request.body()
    try:
        document = _from_yaml(body.decode()) if media in _YAML else json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise ProblemError(400, f"the body is no {'YAML' if media in _YAML else 'JSON'}: {error}", code="malformed") from error
    if not isinstance(document, dict):
        raise ProblemError(422, "a manifest is a mapping of keys", code=ManifestError.code)
    return document


def spec_of(document: dict[str, Any], settings: Settings) -> StudySpec:
    """The spec that a manifest states; relative paths are taken from the first of the operator's directories. Raises ManifestError."""
    folder = settings.directories[0] if settings.directories else Path("/nonexistent")
    spec, faults = parse_manifest(document, folder)
    if spec is None or faults:
        raise ManifestError(faults)
    return spec


def fingerprint_of(document: dict[str, Any]) -> str:
    """A digest of what a manifest asks."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def _from_yaml(text: str) -> Any:
    # what a few aliases of aliases unfold to fits no memory
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise ValueError("aliases (*name) are not taken over HTTP: write the values out")
    return json.loads(json.dumps(parse_document(text), default=str))


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
