"""Which call goes on with what another answered, as OpenAPI links: for readers of the description, and for programs that try every path."""

from collections.abc import Iterator, Mapping
from typing import Any

# the shape of an answer: under which name paths take its id
_TAKEN_AS: Mapping[str, str] = {
    "StudyDetail": "reference",
    "StudyShape": "reference",
    "MergeShape": "merge_id",
}


def link_calls(description: dict[str, Any]) -> None:
    """Adds to every answer that holds an id the calls that take it."""
    calls = [call for call in _calls(description) if "operationId" in call]
    for call in calls:
        for answer in call["responses"].values():
            name = _TAKEN_AS.get(_shape_of(answer))
            if name is not None:
                answer["links"] = {other["operationId"]: _link(other, name) for other in calls if _takes(other, name)}


def _calls(description: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in description["paths"].values():
        yield from methods.values()


def _shape_of(answer: Mapping[str, Any]) -> str:
    shape = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return str(shape.get("$ref", "")).rpartition("/")[2]


def _takes(call: Mapping[str, Any], name: str) -> bool:
    return any(parameter["in"] == "path" and parameter["name"] == name for parameter in call.get("parameters", ()))


def _link(call: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {"operationId": call["operationId"], "parameters": {name: "$response.body#/id"}}
